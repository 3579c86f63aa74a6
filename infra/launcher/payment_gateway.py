"""Who takes the payments: the sandbox gateway, which `up` starts, or Stripe, which it was told of."""

import os

from infra.launcher.failure import Failure
from workers.payments import choosing

REAL_MONEY = "Stripe, with REAL MONEY"
_SANDBOX = {choosing.URL: "http://127.0.0.1", choosing.KEY: "made by the launcher"}


def stripe_settings() -> dict[str, str]:
    """What Stripe's adapter is told; nothing where the sandbox takes the payments. Raises `Failure` where it makes no
    sense."""
    told = {name: value for name, value in os.environ.items() if name.startswith("HEDGEROW_")}
    is_sandbox = choosing.name(told) == "sandbox"
    try:
        choosing.check(_SANDBOX | told if is_sandbox else told)
    except choosing.Misconfigured as reason:
        raise Failure(str(reason)) from None
    return {} if is_sandbox else {name: told[name] for name in choosing.SETTINGS if name in told}


def who_is_paid(settings: dict[str, str]) -> str:
    """For the block that `up` prints, and for `runtime.json`."""
    if not settings:
        return "sandbox"
    return REAL_MONEY if choosing.is_live(settings) else "Stripe, with a test key"
