"""`rotate-key`, as who runs it sees it; what becomes of the tokens is in tests/workers/users/test_rotation.py."""

import asyncio
import stat
from datetime import timedelta

import pytest

from infra.launcher import signing
from infra.launcher.signing import keep_forgetting, rotate, signing_key
from infra.launcher.state import State
from tests.infra.conftest import Launcher
from tests.support.eventually import eventually

pytestmark = pytest.mark.servers


def test_where_nothing_runs_a_new_key_signs_at_once(launcher: Launcher, state: State) -> None:
    before = signing_key(state).read_text()
    done = launcher("rotate-key")
    assert (done.returncode, done.stderr) == (0, "")
    assert "honoured until they end, and it is forgotten after 11 minutes" in done.stdout
    after = signing_key(state).read_text()
    assert after.count("BEGIN PRIVATE KEY") == 2
    assert not after.startswith(before)
    assert after.endswith(before)
    assert stat.S_IMODE(signing_key(state).stat().st_mode) == 0o600


def test_keys_that_leaked_are_gone_at_once(launcher: Launcher, state: State) -> None:
    before = signing_key(state).read_text()
    assert launcher("rotate-key").returncode == 0
    done = launcher("rotate-key", "--leaked")
    assert (done.returncode, done.stderr) == (0, "")
    after = signing_key(state).read_text()
    assert after.count("BEGIN PRIVATE KEY") == 1
    assert before not in after


def test_a_spoilt_file_is_one_sentence(launcher: Launcher, state: State) -> None:
    signing_key(state).write_text("spoilt")
    done = launcher("rotate-key")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "signing-key.pem holds no private keys in PEM form" in done.stderr


async def test_the_launcher_forgets_the_old_key_when_its_time_has_come(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    signing_key(state)
    rotate(state, lambda: None)
    monkeypatch.setattr(signing, "_LOOK_EVERY", 0.02)
    forgetting = asyncio.create_task(keep_forgetting(state))
    monkeypatch.setattr(signing, "HONOURED_FOR", timedelta(0))

    async def is_alone() -> bool:
        return signing_key(state).read_text().count("BEGIN") == 1

    await eventually(is_alone)
    forgetting.cancel()
