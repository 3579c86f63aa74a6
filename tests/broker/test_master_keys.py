"""Where master keys come from, and what they refuse."""

from base64 import b64encode
from pathlib import Path

import pytest

from broker.master_keys import SETTING, MasterKeyError, MasterKeys, name_of, new_master_key

OLD, NEW = new_master_key(), new_master_key()
FILE = f"{SETTING}_FILE"


def test_what_the_first_one_wrapped_every_one_of_the_file_unwraps() -> None:
    wrapped = MasterKeys(OLD).wrap(b"a key", b"whose")
    both = MasterKeys(f"{NEW}\n{OLD}\n")
    assert both.unwrap(wrapped, b"whose") == b"a key"
    assert both.names == [name_of(NEW), name_of(OLD)]
    assert both.wrap(b"a key", b"whose").startswith(name_of(NEW))


def test_what_another_one_wrapped_does_not_open_and_neither_does_another_s() -> None:
    wrapped = MasterKeys(OLD).wrap(b"a key", b"whose")
    with pytest.raises(MasterKeyError, match="not here"):
        MasterKeys(NEW).unwrap(wrapped, b"whose")
    with pytest.raises(MasterKeyError, match="belongs to somebody else"):
        MasterKeys(OLD).unwrap(wrapped, b"somebody else's")


def test_the_environment_s_key_is_for_this_process_alone() -> None:
    environment = {SETTING: OLD}
    assert MasterKeys.of(environment).names == [name_of(OLD)]
    assert environment == {}


def test_the_file_is_read_again_and_nonsense_in_it_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "master-key"
    file.write_text(OLD)
    keys = MasterKeys.of({FILE: str(file)})
    file.write_text(f"{NEW} {OLD}")
    keys.reread()
    assert keys.names == [name_of(NEW), name_of(OLD)]
    file.write_text("nonsense")
    with pytest.raises(MasterKeyError):
        keys.reread()
    assert keys.names == [name_of(NEW), name_of(OLD)]


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({}, f"{FILE} is not set"),
        ({SETTING: ""}, f"{FILE} is not set"),
        ({SETTING: OLD, FILE: "/x"}, "both set"),
        ({SETTING: b64encode(b"x" * 31).decode()}, "32 bytes in base64, and this one has 31"),
        ({SETTING: "no base64!"}, "no base64"),
        ({SETTING: " \n"}, "holds no master key"),
        ({FILE: "/nowhere/master-key"}, "can't be read: No such file"),
        ({FILE: "/"}, "can't be read: Is a directory"),
    ],
)
def test_what_is_no_key_is_refused_in_one_sentence_that_does_not_show_it(
    environment: dict[str, str], reason: str
) -> None:
    given = environment.get(SETTING, "").strip()
    with pytest.raises(MasterKeyError, match=reason) as refused:
        MasterKeys.of(environment)
    assert not given or given not in str(refused.value)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xff" * 32)
    with pytest.raises(MasterKeyError, match="not text"):
        MasterKeys.of({FILE: str(tmp_path / "key")})
