"""Which gateway the settings name, and which settings are refused: in one sentence, without the key."""

import subprocess
import sys

import pytest

from tests.support.sandbox import KEY
from workers.payments.choosing import Misconfigured, check, choose
from workers.payments.sandbox import SandboxGateway

SANDBOX = {"HEDGEROW_GATEWAY_URL": "http://127.0.0.1:1", "HEDGEROW_GATEWAY_KEY": KEY}
TEST = {"HEDGEROW_GATEWAY": "stripe", "HEDGEROW_GATEWAY_KEY": "sk_test_51Abc"}
LIVE = TEST | {"HEDGEROW_GATEWAY_KEY": "sk_live_51Abc", "HEDGEROW_GATEWAY_WEBHOOK_SECRET": "whsec_1"}


def refusal(settings: dict[str, str]) -> str:
    with pytest.raises(Misconfigured) as refused:
        check(settings)
    sentence = str(refused.value)
    assert "51Abc" not in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


def test_the_usual_gateway_is_the_sandbox() -> None:
    for settings in (SANDBOX, SANDBOX | {"HEDGEROW_GATEWAY": "sandbox"}, SANDBOX | {"HEDGEROW_GATEWAY": ""}):
        assert isinstance(choose(settings), SandboxGateway)


@pytest.mark.parametrize("settings", [TEST, TEST | {"HEDGEROW_GATEWAY_URL": "http://127.0.0.1:8420"}, LIVE])
def test_stripe_is_chosen_by_its_name(settings: dict[str, str]) -> None:
    assert choose(settings).name == "stripe"


@pytest.mark.parametrize("key", ["sk_test_1", "rk_test_1", "sk_live_1", "rk_live_1_2"])
def test_secret_and_restricted_keys_of_stripe_are_taken(key: str) -> None:
    check(LIVE | {"HEDGEROW_GATEWAY_KEY": key})


@pytest.mark.parametrize(
    "key", ["pk_test_51Abc", "pk_live_51Abc", "sk_51Abc", "sk_live_", " sk_test_51Abc", "51Abc", "sk_test_ü"]
)
def test_other_keys_are_none_of_stripe(key: str) -> None:
    assert refusal(LIVE | {"HEDGEROW_GATEWAY_KEY": key}).startswith("HEDGEROW_GATEWAY_KEY is no secret key of Stripe's")


@pytest.mark.parametrize("given", [SANDBOX, TEST, LIVE])
@pytest.mark.parametrize("key", ["", None])
def test_a_key_must_be_there(given: dict[str, str], key: str | None) -> None:
    settings = {name: value for name, value in given.items() if name != "HEDGEROW_GATEWAY_KEY"}
    more = {} if key is None else {"HEDGEROW_GATEWAY_KEY": key}
    assert refusal(settings | more).startswith("HEDGEROW_GATEWAY_KEY is not set")


def test_the_sandbox_needs_an_address() -> None:
    assert refusal({"HEDGEROW_GATEWAY_KEY": KEY}).startswith("HEDGEROW_GATEWAY_URL is not set")


@pytest.mark.parametrize(
    "url", ["api.stripe.com", "ftp://127.0.0.1", "http://", "http://127.0.0.1:port", "http://[::1"]
)
def test_an_address_must_be_one(url: str) -> None:
    for settings in (SANDBOX, TEST):
        assert "no address of a web server" in refusal(settings | {"HEDGEROW_GATEWAY_URL": url})


def test_there_are_two_gateways() -> None:
    assert refusal(SANDBOX | {"HEDGEROW_GATEWAY": "paypal"}).startswith("HEDGEROW_GATEWAY is 'paypal'")


@pytest.mark.parametrize("key", ["sk_live_51Abc", "rk_live_51Abc", " sk_live_51Abc"])
def test_a_live_key_is_kept_from_the_sandbox_and_its_test_methods(key: str) -> None:
    assert "takes test methods" in refusal(SANDBOX | {"HEDGEROW_GATEWAY_KEY": key})


@pytest.mark.parametrize("setting", ["HEDGEROW_DRILL", "HEDGEROW_DRILL_WITHOUT"])
@pytest.mark.parametrize("key", ["sk_live_51Abc", "rk_live_51Abc"])
def test_a_live_key_is_kept_from_drills(setting: str, key: str) -> None:
    assert f"{setting} is set" in refusal(LIVE | {"HEDGEROW_GATEWAY_KEY": key, setting: "yes"})
    check(TEST | {setting: "yes"})


@pytest.mark.parametrize("url", ["http://127.0.0.1:8420", "https://api.stripe.com.example", "http://api.stripe.com"])
def test_a_live_key_is_sent_to_stripe_alone(url: str) -> None:
    assert "is sent nowhere else" in refusal(LIVE | {"HEDGEROW_GATEWAY_URL": url})
    check(LIVE | {"HEDGEROW_GATEWAY_URL": "https://api.stripe.com/"})


def test_with_a_live_key_webhooks_must_be_heard() -> None:
    assert refusal(LIVE | {"HEDGEROW_GATEWAY_WEBHOOK_SECRET": ""}).startswith("HEDGEROW_GATEWAY_WEBHOOK_SECRET is not")


@pytest.mark.servers
def test_stripes_package_is_loaded_only_where_it_is_used() -> None:
    """It costs 10 MB."""
    look = (
        f"import sys; from workers.payments.choosing import choose; choose({SANDBOX!r}); print('stripe' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout
    assert said == "False\n"
