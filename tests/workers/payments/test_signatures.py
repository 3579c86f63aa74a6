"""Who signed a webhook, and when. The sandbox signs as Stripe does; what it makes is what is checked."""

import hashlib
import hmac

import pytest

from infra.sandbox_gateway.webhooks import signature
from workers.payments.signatures import is_signed

BODY, SECRET, NOW = '{"id": "evt_1", "naïve": "é"}', "whsec_1", 1_700_000_000.0
GOOD = signature(BODY, SECRET, at=NOW)


def test_the_scheme_is_stripes() -> None:
    digest = hmac.new(b"whsec_1", b"1700000000." + BODY.encode(), hashlib.sha256).hexdigest()
    assert f"t=1700000000,v1={digest}" == GOOD
    assert is_signed(BODY, GOOD, SECRET, now=NOW)


def test_one_good_signature_of_several_is_enough() -> None:
    other = signature(BODY, "whsec_old", at=NOW).partition(",")[2]
    assert is_signed(BODY, f"t=1700000000,{other},{GOOD.partition(',')[2]}", SECRET, now=NOW)
    assert is_signed(BODY, f"{GOOD},v0=00", SECRET, now=NOW)


@pytest.mark.parametrize("seconds", [-299, 0, 299])
def test_clocks_may_differ_a_little(seconds: int) -> None:
    assert is_signed(BODY, GOOD, SECRET, now=NOW + seconds)


@pytest.mark.parametrize("seconds", [-301, 301, 86_400])
def test_an_old_webhook_is_not_believed_and_none_from_the_future(seconds: int) -> None:
    assert not is_signed(BODY, GOOD, SECRET, now=NOW + seconds)


@pytest.mark.parametrize(
    "forged",
    [
        "",
        "v1=",
        "t=1700000000",
        "t=1700000000,v1=",
        "t=1700000000,v1=zz",
        f"t=1700000001,{GOOD.partition(',')[2]}",
        GOOD.replace("v1", "v0"),
        GOOD[:-1],
        GOOD + "0",
        "t=١٧٠٠٠٠٠٠٠٠," + GOOD.partition(",")[2],
        signature(BODY + " ", SECRET, at=NOW),
        signature(BODY, "whsec_2", at=NOW),
        signature(BODY, "", at=NOW),
    ],
)
def test_what_is_not_signed_just_so_is_not_believed(forged: str) -> None:
    assert not is_signed(BODY, forged, SECRET, now=NOW)
