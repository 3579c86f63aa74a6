"""Who takes the payments, as `up` is told."""

import pytest

from infra.launcher.demo import show_demo
from infra.launcher.failure import Failure
from infra.launcher.payment_gateway import REAL_MONEY, stripe_settings, who_is_paid
from infra.launcher.state import State

STRIPE = {"HEDGEROW_GATEWAY": "stripe", "HEDGEROW_GATEWAY_KEY": "sk_test_1"}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("HEDGEROW_GATEWAY", "HEDGEROW_GATEWAY_URL", "HEDGEROW_GATEWAY_KEY", "HEDGEROW_GATEWAY_WEBHOOK_SECRET"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_without_a_word_it_is_the_sandbox(told: pytest.MonkeyPatch) -> None:
    assert stripe_settings() == {}
    told.setenv("HEDGEROW_GATEWAY", "sandbox")
    assert stripe_settings() == {}
    assert who_is_paid({}) == "sandbox"


@pytest.mark.parametrize(("key", "who"), [("sk_test_1", "test key"), ("rk_live_1", "REAL MONEY")])
def test_what_stripe_needs_is_passed_on(told: pytest.MonkeyPatch, key: str, who: str) -> None:
    settings = STRIPE | {"HEDGEROW_GATEWAY_KEY": key, "HEDGEROW_GATEWAY_WEBHOOK_SECRET": "whsec_1"}
    for name, value in settings.items():
        told.setenv(name, value)
    assert stripe_settings() == settings
    assert who in who_is_paid(settings)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"HEDGEROW_GATEWAY_KEY": "sk_live_1"}, "test methods"),
        ({"HEDGEROW_GATEWAY": "stripe"}, "HEDGEROW_GATEWAY_KEY is not set"),
        (STRIPE | {"HEDGEROW_GATEWAY_KEY": "rk_live_1", "HEDGEROW_DRILL": "yes"}, "HEDGEROW_DRILL is set"),
    ],
)
def test_what_makes_no_sense_fails_in_one_sentence(
    told: pytest.MonkeyPatch, settings: dict[str, str], why: str
) -> None:
    for name, value in settings.items():
        told.setenv(name, value)
    with pytest.raises(Failure, match=why):
        stripe_settings()


def test_the_demo_keeps_its_test_cards_from_real_money(state: State) -> None:
    state.write("runtime.json", {"edge": "http://127.0.0.1:1", "payments": REAL_MONEY})
    with pytest.raises(Failure, match="test cards"):
        show_demo(state)
