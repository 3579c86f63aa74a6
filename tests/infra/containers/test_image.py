"""The image: made from the lock alone, with everything that the programs are, and run by nobody in particular."""

import re
import tomllib

from infra.launcher.state import REPOSITORY

DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()
BUILD, FINAL = re.split(r"(?m)^FROM ", DOCKERFILE)[1:]
COPIED = {name for line in re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", BUILD) for name in line.split()}


def test_it_holds_the_packages_of_the_project() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    packages = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    beside = {"requirements.lock", "pyproject.toml", project["project"]["readme"], "LICENSE"}
    assert packages | beside == COPIED


def test_the_build_is_sent_what_it_copies_and_nothing_else() -> None:
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    assert lines[lines.index("*") - 1].startswith("#")
    assert {line[1:] for line in lines if line.startswith("!")} == COPIED


def test_it_installs_what_the_lock_names_by_hash_from_wherever_the_builder_gets_packages() -> None:
    assert "--require-hashes" in BUILD
    assert "--no-index --find-links /wheels" in BUILD
    assert not re.search(r"index-url|https?://", DOCKERFILE + (REPOSITORY / "requirements.lock").read_text())


def test_its_tools_stay_behind() -> None:
    assert "--without-pip" in BUILD
    assert re.findall(r"(?m)^COPY (.*)", FINAL) == ["--from=build /opt/hedgerow /opt/hedgerow"]


def test_it_runs_as_nobody_in_particular_and_says_how_it_is() -> None:
    assert re.search(r"(?m)^USER (\d+):(\d+)$", FINAL)
    assert FINAL.index("USER") < FINAL.index("CMD")
    assert '["python", "-m", "infra.containers", "healthy"]' in FINAL
