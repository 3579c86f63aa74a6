"""What is kept of a request that ended the service."""

import pytest

from broker.lane.taking import REQUEST_BODY_KEPT, _without_words


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (
            b'{"email":"ada@example.org","items":[{"sku":"spade","quantity":2}],"wait":null}',
            b'{"email": "***", "items": [{"sku": "***", "quantity": 2}], "wait": null}',
        ),
        (b'"ada"', b'"***"'),
        (b"no JSON from ada", b""),
        (b"\xff", b""),
        (b"[" * 100_000, b""),
        (b'"' + b"a" * REQUEST_BODY_KEPT + b'"', b""),
    ],
)
def test_its_form_is_kept_and_no_word_of_it(body: bytes, kept: bytes) -> None:
    assert _without_words(body) == kept
