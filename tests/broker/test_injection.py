"""Handlers get what their annotations ask for."""

import pytest

from broker.injection import Attempt, check, given_by, needs, pick


async def _write(message: bytes, attempt: Attempt, where: str) -> int:
    raise NotImplementedError


async def _without_annotation(message: bytes, where) -> None:  # type: ignore[no-untyped-def]
    raise NotImplementedError


async def _says_nothing(message: bytes):  # type: ignore[no-untyped-def]
    raise NotImplementedError


def test_a_handler_wants_what_its_annotations_say_beside_the_message() -> None:
    assert needs(_write) == {"attempt": Attempt, "where": str}


def test_a_handler_that_takes_no_message_wants_all_its_parameters() -> None:
    assert list(needs(_write, message=False)) == ["message", "attempt", "where"]


def test_a_parameter_without_an_annotation_is_found_out_at_once() -> None:
    with pytest.raises(TypeError, match="the parameter where needs an annotation"):
        needs(_without_annotation)


def test_what_nobody_can_give_is_found_out_before_the_first_message() -> None:
    with pytest.raises(TypeError, match=r"_write: nothing of type <class 'str'> can be given for where"):
        check(_write, needs(_write), [Attempt])


def test_what_a_function_gives_is_its_return_annotation() -> None:
    assert given_by(_write) is int


def test_a_function_that_does_not_say_what_it_gives_is_found_out() -> None:
    with pytest.raises(TypeError, match="needs a return annotation"):
        given_by(_says_nothing)


def test_only_what_is_wanted_is_given() -> None:
    assert pick({"where": str}, {str: "here", int: 1}) == {"where": "here"}
