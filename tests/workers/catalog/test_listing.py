"""Cursors come back as they went out, and a search is safe whatever is typed."""

import re
import string

from hypothesis import given
from hypothesis import strategies as st

from contracts.base import Refusal
from workers.catalog.listing import START, cursor, key_after, next_cursor, search_query

skus = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)


@given(skus)
def test_a_cursor_leads_back_to_its_key(sku: str) -> None:
    assert key_after("products", cursor("products", sku)) == sku


@given(skus)
def test_a_cursor_of_another_list_is_refused(sku: str) -> None:
    assert isinstance(key_after("categories", cursor("products", sku)), Refusal)


@given(st.text(max_size=100))
def test_anything_else_is_refused_with_a_pointer(text: str) -> None:
    refusal = key_after("products", text)
    assert isinstance(refusal, Refusal)
    assert (refusal.slug, refusal.errors[0].pointer) == ("invalid-request", "/cursor")


@given(skus, st.text(min_size=1, max_size=3))
def test_a_key_has_one_cursor_only(sku: str, more: str) -> None:
    assert key_after("products", cursor("products", sku) + more) != sku


def test_without_a_cursor_a_list_starts_at_its_start() -> None:
    assert key_after("products", None) == START


def test_the_last_page_leads_nowhere() -> None:
    assert next_cursor("products", ["A", "B"], 2) is None
    assert next_cursor("products", ["A", "B", "C"], 2) == cursor("products", "B")


@given(st.text(alphabet=st.one_of(st.sampled_from(string.punctuation + " "), st.characters()), max_size=200))
def test_a_search_is_quoted_words_only(typed: str) -> None:
    query = search_query(typed)
    assert query is None or re.fullmatch(r"'[^'\\]+'( & '[^'\\]+')*:\*", query)


def test_the_last_word_is_a_beginning() -> None:
    assert search_query("wild flo") == "'wild' & 'flo':*"


def test_punctuation_separates_words() -> None:
    assert search_query("O'Neil's tea/coffee!") == "'O' & 'Neil' & 's' & 'tea' & 'coffee':*"


def test_no_word_is_no_search() -> None:
    assert search_query(" '!\\ ") is None
