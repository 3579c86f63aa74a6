"""The master key of this machine, from its first start on."""

import stat
from pathlib import Path

import pytest

from broker.ids import new_id
from broker.master_keys import MasterKeys, new_master_key
from broker.migrate import migrate
from broker.vault import Vault
from infra.launcher import master_key as it
from infra.launcher.failure import Failure
from infra.launcher.master_key import SETTING, master_key, rotate
from infra.launcher.state import State
from tests.broker.test_vault import do, unlocked
from tests.infra.conftest import Launcher


def test_it_is_made_once_and_for_its_owner_alone(state: State) -> None:
    file = master_key(state)
    before = file.read_text()
    assert master_key(state) == file
    assert file.read_text() == before
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_operator_s_own_is_taken_and_none_is_made(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine"
    mine.write_text(new_master_key())
    monkeypatch.setenv(SETTING, str(mine))
    assert master_key(state) == mine
    assert not (state.folder / "master-key").exists()


def test_one_of_the_wrong_length_is_refused_and_stays(state: State) -> None:
    state.write_text("master-key", "c2hvcnQ=")
    with pytest.raises(Failure, match="this one has 5"):
        master_key(state)
    assert (state.folder / "master-key").read_text() == "c2hvcnQ="


@pytest.mark.servers
def test_where_nothing_runs_nothing_is_rotated(launcher: Launcher, state: State) -> None:
    before = master_key(state).read_text()
    done = launcher("rotate-master-key")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "start it first" in done.stderr
    assert master_key(state).read_text() == before


@pytest.mark.servers
async def test_the_old_one_is_forgotten_when_the_new_one_has_wrapped_everything(state: State, database: str) -> None:
    await migrate(database, None)
    before, vault = master_key(state).read_text().strip(), Vault(MasterKeys.of({SETTING: str(master_key(state))}))
    db = await unlocked(database, vault)
    await do(db, lambda tx: tx.people.add(new_id()))
    published: list[list[str]] = []

    async def until_every_instance_has_it() -> None:
        published.append(master_key(state).read_text().split())
        await do(db, lambda tx: vault.rewrap(tx.connection))

    await rotate(state, database, until_every_instance_has_it)
    (new,) = master_key(state).read_text().split()
    assert published == [[before, new], [new, before]]
    await db.close()


@pytest.mark.servers
async def test_a_key_that_still_wraps_something_is_never_forgotten(
    state: State, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(it, "WRAPPED_WITHIN_SECONDS", 0)
    await migrate(database, None)
    before = master_key(state).read_text().strip()
    await (await unlocked(database, Vault(MasterKeys(before)))).close()

    async def nobody_reads_it() -> None:
        return

    with pytest.raises(Failure, match="so it stays"):
        await rotate(state, database, nobody_reads_it)
    assert before in master_key(state).read_text().split()
