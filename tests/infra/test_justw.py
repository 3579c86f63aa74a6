"""The wrapper `justw` in a copy of the project whose only dependency is a stub of just.

Its virtual environments borrow the pip of the one that the tests run in: with a pip of their own, each takes seconds.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.launcher.state import REPOSITORY

pytestmark = pytest.mark.servers

# A build backend that makes a wheel with one script, `just`, which prints its arguments.
_BACKEND = """
import zipfile

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    name, info = "stub-1-py3-none-any.whl", "stub-1.dist-info"
    with zipfile.ZipFile(f"{wheel_directory}/{name}", "w") as wheel:
        script = zipfile.ZipInfo("stub-1.data/scripts/just")
        script.external_attr = 0o100755 << 16
        wheel.writestr(script, "#!/bin/sh\\necho just \\"$@\\"\\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: stub\\nVersion: 1\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nGenerator: stub\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name

build_wheel = build_editable
"""
# A Python whose virtual environments have no pip of their own but find another's.
_PYTHON = """#!/bin/sh
[ "$1 $2" = "-m venv" ] || exec "{python}" "$@"
"{python}" "$@" --without-pip && echo "{lender}" >"$(echo "$4"/lib/python*/site-packages)/lent.pth"
"""
_PROJECT = """
[build-system]
requires = []
build-backend = "stub_backend"
backend-path = ["."]
[project]
name = "stub"
version = "1"
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("a copy")
    shutil.copy(REPOSITORY / "justw", folder)
    (folder / "justfile").touch()
    (folder / "requirements.lock").write_text("# nothing\n")
    (folder / "pyproject.toml").write_text(_PROJECT)
    (folder / "stub_backend.py").write_text(_BACKEND)
    programs = tmp_path_factory.mktemp("bin")
    (programs / "pip").symlink_to(Path(sysconfig.get_path("purelib")) / "pip")
    (programs / "python3").write_text(_PYTHON.format(python=sys.executable, lender=programs))
    (programs / "python3").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{programs}:/usr/local/bin:/usr/bin:/bin")
        yield folder
    shutil.rmtree(folder)


def start(copy: Path, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    known = {"PATH": os.environ["PATH"], "HOME": str(copy)} | environment
    command, pipe = [str(copy / "justw"), *arguments], subprocess.PIPE
    return subprocess.Popen(command, cwd="/", env=known, text=True, stdout=pipe, stderr=pipe)


def run(copy: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    process = start(copy, *arguments, **environment)
    said, complained = process.communicate(timeout=60)
    return process.returncode, said, complained


def expected(copy: Path, *arguments: str) -> str:
    return " ".join(["just", "--justfile", f"{copy}/justfile", *arguments]) + "\n"


def test_twice_at_once_it_installs_once(copy: Path) -> None:
    both = [start(copy, "up", "--detach"), start(copy, "test")]
    ends = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert [said for said, _ in ends] == [expected(copy, "up", "--detach"), expected(copy, "test")]
    assert sum(complained.count("installing what") for _, complained in ends) == 1
    assert run(copy, "status") == (0, expected(copy, "status"), "")


def test_a_changed_lock_is_installed_once(copy: Path) -> None:
    run(copy)
    (copy / "requirements.lock").write_text("# nothing else\n")
    assert "installing what" in run(copy)[2]
    assert run(copy)[2] == ""


@pytest.mark.parametrize("answer", [0, 1])
def test_uv_installs_and_pip_does_what_uv_can_not(copy: Path, answer: int) -> None:
    run(copy)
    uv = copy / ".venv" / "bin" / "uv"
    uv.write_text(f'#!/bin/sh\necho "$*" >>{str(copy / "asked")!r}\nexit {answer}\n')
    uv.chmod(0o755)
    (copy / ".venv" / "bin" / "just").rename(copy / "just")
    (copy / "requirements.lock").write_text(f"# {answer}\n")
    try:
        code, _, _ = run(copy)
        assert (code == 0) is (answer == 1)  # pip brings just back, and what says that it is uv did not
        asked = (copy / "asked").read_text().splitlines()
        assert [f"--require-hashes -r {copy}/requirements.lock" in line for line in asked] == [True, False][
            : 2 - answer
        ]
    finally:
        uv.unlink()
        (copy / "asked").unlink()
        (copy / "just").rename(copy / ".venv" / "bin" / "just")


@pytest.mark.parametrize("damage", ["rm .venv/bin/python*", "touch .venv/.unfinished; rm .venv/.installed"])
def test_a_damaged_environment_is_repaired(copy: Path, damage: str) -> None:
    run(copy)
    subprocess.run(f"{damage}; rm -f .venv/bin/just", shell=True, cwd=copy, check=True)
    code, said, complained = run(copy, "up")
    assert (code, said) == (0, expected(copy, "up"))
    assert "making the virtual environment" in complained


def test_a_moved_project_makes_its_environment_anew(copy: Path, tmp_path: Path) -> None:
    run(copy)
    moved = tmp_path / "moved"
    shutil.copytree(copy, moved, symlinks=True)
    code, said, complained = run(moved, "up")
    assert (code, said) == (0, expected(moved, "up"))
    assert "making the virtual environment" in complained


def test_an_environment_of_another_project_is_left_alone(copy: Path, tmp_path: Path) -> None:
    run(copy, "up")
    other = tmp_path / "other"
    shutil.copytree(copy, other, ignore=shutil.ignore_patterns(".venv"))
    (other / ".venv").symlink_to(copy / ".venv")
    code, _, complained = run(other, "up")
    assert (code, complained.splitlines()) == (
        1,
        [f"justw: {other}/.venv is a link to an environment that is not this project's; remove the link."],
    )
    assert run(copy, "up") == (0, expected(copy, "up"), "")


def test_without_a_fitting_python_it_says_what_to_install(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "justw", tmp_path)
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    code, _, complained = run(tmp_path, HEDGEROW_PYTHON="no-such-python")
    assert (code, complained.count("\n")) == (1, 1)
    assert "Python 3.11 or newer is missing" in complained
    assert "apt-get install" in complained
