from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.base import FieldError, Refusal
from contracts.users import ChangeMe
from workers.users.rules import GRACE, Verdict, judged, normalised, profile_changes

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
ADDRESS = {"name": "Ada", "line1": "1 Hedge Row", "postal_code": "N1", "city": "London", "country": "GB"}


def changes(body: str) -> object:
    return profile_changes(ChangeMe.model_validate_json(body))


def verdict(*, ended: bool = False, expires_at: datetime = LATER, spent: timedelta | None = None) -> Verdict:
    spent_at = None if spent is None else NOW - spent
    return judged(ended_at=NOW if ended else None, expires_at=expires_at, spent_at=spent_at, now=NOW)


def test_addresses_that_differ_in_case_are_one() -> None:
    assert normalised("Ada@Example.ORG") == normalised("ada@example.org") == "ada@example.org"


def test_addresses_that_differ_in_unicode_composition_are_one() -> None:
    assert normalised("Ren\u00c9@example.org") == normalised("rene\u0301@example.org")


def test_addresses_with_different_letters_stay_two() -> None:
    assert normalised("strasse@example.org") != normalised("straße@example.org")


@given(st.text())
def test_to_normalise_twice_changes_nothing(email: str) -> None:
    assert normalised(normalised(email)) == normalised(email)


def test_what_is_left_out_is_not_touched() -> None:
    assert changes("{}") == {}
    assert changes('{"name": "Ada"}') == {"name": "Ada"}


def test_a_null_address_removes_it() -> None:
    assert changes('{"address": null}') == {"address": None}


def test_an_address_is_set_as_a_whole() -> None:
    ask = ChangeMe.model_validate({"address": ADDRESS})
    assert profile_changes(ask) == {"address": ADDRESS | {"line2": None}}


def test_a_null_name_is_refused_with_its_place() -> None:
    refusal = changes('{"name": null, "address": null}')
    assert isinstance(refusal, Refusal)
    assert (refusal.slug, refusal.status) == ("invalid-request", 422)
    assert refusal.errors == (FieldError(pointer="/name", detail="A name can't be removed."),)


def test_an_unspent_token_is_rotated() -> None:
    assert verdict() is Verdict.ROTATE


@pytest.mark.parametrize("spent", [timedelta(0), timedelta(seconds=-1), GRACE])
def test_a_token_asked_again_at_once_is_answered_again(spent: timedelta) -> None:
    assert verdict(spent=spent) is Verdict.REPEAT


def test_a_token_asked_again_later_ends_its_family() -> None:
    assert verdict(spent=GRACE + timedelta(microseconds=1)) is Verdict.END_FAMILY


@given(spent=st.none() | st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=30)))
def test_a_token_of_an_ended_family_is_refused(spent: timedelta | None) -> None:
    assert verdict(ended=True, spent=spent) is Verdict.REFUSE


@given(spent=st.none() | st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=30)))
def test_an_expired_token_is_refused(spent: timedelta | None) -> None:
    assert verdict(expires_at=NOW, spent=spent) is Verdict.REFUSE
