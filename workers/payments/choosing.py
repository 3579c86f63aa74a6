"""Which gateway the platform uses: its settings, checked before anything is asked of it.

Promise: real money is never mixed up with tests. A live key of Stripe is used with Stripe alone, not with the sandbox
and its test methods, and not beside a drill. No message shows a key.
"""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from workers.payments.gateway import Gateway

GATEWAY = "HEDGEROW_GATEWAY"
URL = "HEDGEROW_GATEWAY_URL"
KEY = "HEDGEROW_GATEWAY_KEY"
WEBHOOK_SECRET = "HEDGEROW_GATEWAY_WEBHOOK_SECRET"  # noqa: S105 - a setting's name
SETTINGS = (GATEWAY, URL, KEY, WEBHOOK_SECRET)
DRILL = "HEDGEROW_DRILL"
"""Set, or a setting whose name begins so, by whatever hurts the platform on purpose."""
STRIPE_URL = "https://api.stripe.com"
_STRIPE_KEY = re.compile(r"(sk|rk)_(test|live)_\w+", re.ASCII)
_LIVE_KEY = re.compile(r"\s*(sk|rk)_live_")


class Misconfigured(Exception):
    """The settings name no gateway. The message is one sentence for operators."""


def choose(settings: Mapping[str, str]) -> Gateway:
    """The gateway that the settings name; what it needs is imported only now. Raises Misconfigured."""
    check(settings)
    secret, url = settings.get(WEBHOOK_SECRET), settings.get(URL)
    if name(settings) == "stripe":
        from workers.payments.stripe.adapter import StripeGateway

        return StripeGateway(settings[KEY], url=url or STRIPE_URL, webhook_secret=secret)
    from workers.payments.sandbox import SandboxGateway

    return SandboxGateway(settings[URL], settings[KEY], webhook_secret=secret)


def name(settings: Mapping[str, str]) -> str:
    """The name of the gateway that the settings want."""
    return settings.get(GATEWAY) or "sandbox"


def is_live(settings: Mapping[str, str]) -> bool:
    """Whether the key is one for real money."""
    return _LIVE_KEY.match(settings.get(KEY, "")) is not None


def check(settings: Mapping[str, str]) -> None:
    """Raises Misconfigured for the first thing that is missing or does not fit."""
    if reason := next(_reasons(settings), None):
        raise Misconfigured(reason)


def _reasons(settings: Mapping[str, str]) -> Iterator[str]:
    gateway, key, url = name(settings), settings.get(KEY), settings.get(URL)
    if gateway not in ("sandbox", "stripe"):
        yield f'{GATEWAY} is {gateway!r}: there is "sandbox" and "stripe".'
    if gateway == "sandbox" and not url:
        yield f"{URL} is not set: the payments service needs the gateway's address and its secret key."
    if not key:
        yield f"{KEY} is not set: the payments service needs the gateway's secret key."
    if url and not _is_web_address(url):
        yield f"{URL} is {url!r}, which is no address of a web server."
    if is_live(settings):
        yield from _reasons_against_real_money(settings)
    if gateway == "stripe" and not _STRIPE_KEY.fullmatch(key or ""):
        yield f"{KEY} is no secret key of Stripe's: those begin with sk_test_, rk_test_, sk_live_ or rk_live_."


def _reasons_against_real_money(settings: Mapping[str, str]) -> Iterator[str]:
    drill = next((setting for setting in settings if setting.startswith(DRILL)), None)
    if name(settings) != "stripe":
        yield f"{KEY} is a live key of Stripe's, and the sandbox takes test methods: set {GATEWAY}=stripe."
    if drill:
        yield f"{KEY} is a live key of Stripe's, and {drill} is set: nothing is drilled with real money."
    if (settings.get(URL) or STRIPE_URL).rstrip("/") != STRIPE_URL:
        yield f"{KEY} is a live key of Stripe's, and {URL} is not {STRIPE_URL}: it is sent nowhere else."
    if not settings.get(WEBHOOK_SECRET):
        yield f"{WEBHOOK_SECRET} is not set: with a live key, Stripe's webhooks must be heard."


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
