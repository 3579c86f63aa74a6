"""What is published is what the code says."""

from contracts.published import FOLDER, files


def test_the_published_schemas_are_those_of_the_code() -> None:
    published = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    assert published == files(), "run `just documents` and look at what changed"
