"""What the payments service does: three commands, each asked of the gateway first and recorded after."""

from broker.service import Service
from broker.transaction import Transaction
from contracts.payments import (
    AuthorisePayment,
    CaptureFailed,
    CapturePayment,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentDeclined,
    PaymentVoided,
    VoidPayment,
)
from workers.payments import store
from workers.payments.asking import hold_money, let_go, take_money
from workers.payments.gateway import Outcome
from workers.payments.rules import Decision, after_authorising, after_capturing, after_voiding

service = Service(
    "payments",
    says=(PaymentAuthorised, PaymentDeclined, PaymentCaptured, CaptureFailed, PaymentVoided, VoidPayment),
    migrations="workers.payments.migrations",
)


@service.does(AuthorisePayment, first=hold_money)
async def record_authorisation(command: AuthorisePayment, outcome: Outcome, tx: Transaction) -> None:
    payment = await store.claim(tx.connection, command.order_id)
    decision = after_authorising(payment.status, command, outcome)
    await store.record(tx.connection, command.order_id, decision, outcome, command.amount)
    _say(tx, decision)


@service.does(CapturePayment, first=take_money)
async def record_capture(command: CapturePayment, outcome: Outcome, tx: Transaction) -> None:
    payment = await store.claim(tx.connection, command.order_id)
    decision = after_capturing(payment.status, command.order_id, payment.amount, outcome)
    await store.record(tx.connection, command.order_id, decision, outcome)
    _say(tx, decision)


@service.does(VoidPayment, first=let_go)
async def record_void(command: VoidPayment, outcome: Outcome, tx: Transaction) -> None:
    payment = await store.claim(tx.connection, command.order_id)
    decision = after_voiding(payment.status, command.order_id, payment.amount, outcome)
    await store.record(tx.connection, command.order_id, decision, outcome)
    _say(tx, decision)


def _say(tx: Transaction, decision: Decision) -> None:
    for event in decision.events:
        tx.emit(event)
    for command in decision.commands:
        tx.send(command)
