"""`python -m contracts` writes contracts/schemas/ anew."""

from contracts.published import FOLDER, files

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for stale in {path.name for path in FOLDER.glob("*.json")} - set(files()):
        (FOLDER / stale).unlink()
    for name, text in files().items():
        (FOLDER / name).write_text(text)
