"""What each payment method of the sandbox does. Stripe's own test names where it has one."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Method:
    """How a payment method behaves; as it stands it pays."""

    declined: str | None = None
    slow_seconds: float = 0.0
    silent: Literal["before", "after"] | None = None
    fails: Literal["before", "after"] | None = None
    fails_once: bool = False
    capture_fails: bool = False
    refund_fails: bool = False
    asks_customer: bool = False


_METHODS = {
    "pm_card_visa": Method(),
    "pm_card_visa_chargeDeclined": Method(declined="card_declined"),
    "pm_card_refundFail": Method(refund_fails=True),
    "pm_card_authenticationRequired": Method(asks_customer=True),
    "pm_sandbox_slow": Method(slow_seconds=3.0),
    "pm_sandbox_timeout_before": Method(silent="before"),
    "pm_sandbox_timeout_after": Method(silent="after"),
    "pm_sandbox_error_once": Method(fails_once=True),
    "pm_sandbox_capture_fails": Method(capture_fails=True),
}
_UNKNOWN = Method(declined="invalid_payment_method")


def method_named(name: str) -> Method:
    """The method's behaviour; an unknown one is declined."""
    return _METHODS.get(name, _UNKNOWN)
