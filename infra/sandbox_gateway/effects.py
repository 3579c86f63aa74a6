"""What can happen to a payment: hold, capture, let go, refund, and the customer's answer. Each runs within a
transaction."""

import secrets
from typing import Any
from uuid import uuid4

from infra.sandbox_gateway.ledger import Ledger
from infra.sandbox_gateway.methods import method_named
from infra.sandbox_gateway.payment import Answer, NewPayment, NewRefund, Payment, Status, error, now, success


def authorise(ledger: Ledger, new: NewPayment, own_url: str) -> Answer:
    """Hold the money, decline, fail once, or ask for the customer: as the payment method says."""
    method = method_named(new.payment_method)
    if method.fails_once and ledger.fail_first(new.reference):
        return failure()
    id_ = f"pay_{uuid4().hex}"
    secret = f"{id_}_secret_{secrets.token_urlsafe(18)}"
    payment = Payment(**new.model_dump(), id=id_, status="authorised", client_secret=secret, created_at=now())
    if method.asks_customer:
        page = {"type": "redirect_to_url", "redirect_to_url": {"url": f"{own_url}authentications/{payment.id}"}}
        waiting = {"status": "requires_action", "code": "authentication_required", "next_action": page}
        return success(ledger.put(payment.model_copy(update=waiting)))
    if method.declined:
        return _decline(ledger, payment, method.declined)
    ledger.enter("authorised", payment)
    return success(ledger.put(payment))


def capture(ledger: Ledger, payment: Payment) -> Answer:
    """Take the money that is held."""
    if payment.status != "authorised":
        return _unexpected_state(payment, "captured")
    if method_named(payment.payment_method).capture_fails:
        return error(402, "card_error", "capture_failed", "The bank did not pay out the held amount.", payment)
    ledger.enter("captured", payment)
    return success(_move(ledger, payment, "captured", amount_captured=payment.amount))


def refund(new: NewRefund, ledger: Ledger, payment: Payment) -> Answer:
    """Give back a part of what was captured, or all of it, but never more."""
    if payment.status != "captured":
        return _unexpected_state(payment, "refunded")
    if new.amount > payment.amount_captured - payment.amount_refunded:
        message = "This is more than what was captured and not refunded yet."
        return error(400, "invalid_request_error", "refund_exceeds_captured", message, payment)
    if method_named(payment.payment_method).refund_fails:
        return error(402, "card_error", "refund_failed", "The bank did not take the money back.", payment)
    ledger.enter("refunded", payment, new.amount)
    given_back = payment.amount_refunded + new.amount
    return success(_move(ledger, payment, "captured", amount_refunded=given_back, refunds=[*payment.refunds, new]))


def void(ledger: Ledger, payment: Payment) -> Answer:
    """Let go of the money that is held, or stop waiting for the customer."""
    if payment.status not in ("authorised", "requires_action"):
        return _unexpected_state(payment, "voided")
    if payment.status == "authorised":
        ledger.enter("voided", payment)
    return success(_move(ledger, payment, "voided", code=payment.code))


def settle(ledger: Ledger, payment: Payment, *, succeeded: bool) -> Answer:
    """The customer proved who they are, or did not."""
    if payment.status != "requires_action":
        return _unexpected_state(payment, "authenticated")
    if not succeeded:
        return _decline(ledger, payment, "authentication_failed")
    ledger.enter("authorised", payment)
    return success(_move(ledger, payment, "authorised"))


def failure() -> Answer:
    """What the gateway says when something went wrong, and nobody knows what was done before."""
    return error(500, "api_error", "api_error", "Something went wrong on our end.")


def _move(ledger: Ledger, payment: Payment, status: Status, code: str | None = None, **changed: Any) -> Payment:
    return ledger.put(payment.model_copy(update={"status": status, "code": code, "next_action": None, **changed}))


def _decline(ledger: Ledger, payment: Payment, code: str) -> Answer:
    declined = _move(ledger, payment, "declined", code=code)
    ledger.enter("declined", declined)
    return error(402, "card_error", code, "The payment was declined.", declined)


def _unexpected_state(payment: Payment, wished: str) -> Answer:
    message = f"The payment is {payment.status} and can't be {wished}."
    return error(400, "invalid_request_error", "payment_unexpected_state", message, payment)
