"""`python -m infra.grafana`: write the dashboards beside this file."""

import json
from pathlib import Path

from infra.grafana.dashboards import documents


def write(folder: Path) -> None:
    """Write every dashboard as JSON into the folder."""
    for name, document in documents().items():
        (folder / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    write(Path(__file__).parent)
