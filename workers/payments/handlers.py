"""What the payments service does and answers: the gateway is asked first, what it said is recorded after."""

import asyncio

from broker.outbox import Origin
from broker.reader import Reader
from broker.service import Http, Service
from broker.telemetry import log
from broker.transaction import Database, Transaction
from contracts.base import Refusal
from contracts.payments import (
    AuthorisePayment,
    CaptureFailed,
    CapturePayment,
    GetPaymentAction,
    PaymentAction,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentDeclined,
    PaymentRefunded,
    PaymentRequiresAction,
    PaymentVoided,
    ReceiveWebhook,
    RefundFailed,
    RefundPayment,
    VoidPayment,
    bad_signature,
    no_action_required,
)
from workers.payments import store
from workers.payments.asking import Steps, do_what_is_wanted, hold_money, pursue
from workers.payments.gateway import Gateway, Webhook
from workers.payments.reconciling import reconcile
from workers.payments.rules import Command, Look, Patience, Payment, again, is_stuck, learn, news, want

service = Service(
    "payments",
    says=(
        PaymentRequiresAction,
        PaymentAuthorised,
        PaymentDeclined,
        PaymentCaptured,
        CaptureFailed,
        PaymentVoided,
        PaymentRefunded,
        RefundFailed,
    ),
    migrations="workers.payments.migrations",
)


@service.does(AuthorisePayment, first=hold_money)
@service.does(CapturePayment, first=do_what_is_wanted)
@service.does(VoidPayment, first=do_what_is_wanted)
@service.does(RefundPayment, first=do_what_is_wanted)
async def record_what_became_of_it(command: Command, steps: Steps, tx: Transaction, patience: Patience) -> None:
    before = await store.claim(
        tx.connection,
        command.order_id,
        quiet_after=patience.quiet,
        with_refunds=isinstance(command, RefundPayment),
    )
    await _record(tx, before, want(before, command), steps)


@service.answers(GetPaymentAction)
async def tell_what_the_customer_has_to_do(question: GetPaymentAction, reader: Reader) -> PaymentAction | Refusal:
    return await store.find_action(reader, question.order_id) or no_action_required()


# --- what the gateway tells on its own account ------------------------------------------------------------------------


async def verify(asked: ReceiveWebhook, gateway: Gateway) -> Webhook | Refusal:
    """What the webhook tells, if it is the gateway's."""
    webhook = gateway.read_webhook(asked.body, asked.signature) if asked.gateway == gateway.name else None
    return webhook or bad_signature()


@service.answers(
    ReceiveWebhook,
    first=verify,
    http=Http(
        "POST",
        "/gateway-webhooks/{gateway}",
        status=204,
        who="anyone",
        raw="body",
        headers={"Stripe-Signature": "signature"},
    ),
)
async def keep_webhook(asked: ReceiveWebhook, webhook: Webhook, tx: Transaction) -> None:
    await store.keep_webhook(tx.connection, asked.gateway, webhook)


@service.every(seconds=3600)
async def forget_old_webhooks(tx: Transaction) -> None:
    await store.prune_webhooks(tx.connection)


# --- what is not settled yet ------------------------------------------------------------------------------------------


@service.every(seconds=0.5)
async def pursue_what_is_new(database: Database, gateway: Gateway, patience: Patience) -> bool:
    return await _pursue_due(database, gateway, patience, tried=False)


@service.every(seconds=1.0)
async def pursue_what_was_tried(database: Database, gateway: Gateway, patience: Patience) -> bool:
    """A chore of its own: a gateway that keeps silent holds up only what waits for it already."""
    return await _pursue_due(database, gateway, patience, tried=True)


@service.every(seconds=5.0)
async def compare_with_the_gateway(database: Database, gateway: Gateway, patience: Patience) -> bool:
    return await reconcile(database, gateway, patience)


async def _pursue_due(database: Database, gateway: Gateway, patience: Patience, *, tried: bool) -> bool:
    due = await database.transact(Origin("payments due"), lambda tx: store.claim_due(tx.connection, tried=tried))
    outcomes = await asyncio.gather(
        *(_look_and_pursue(database, gateway, patience, payment) for payment in due), return_exceptions=True
    )
    if failures := [failure for failure in outcomes if isinstance(failure, Exception)]:
        raise ExceptionGroup("payments could not be pursued", failures)
    return bool(due)


async def _look_and_pursue(database: Database, gateway: Gateway, patience: Patience, payment: Payment) -> None:
    steps = await pursue(gateway, payment, look=True)

    async def record(tx: Transaction) -> None:
        before = await store.claim(
            tx.connection, payment.order_id, quiet_after=patience.quiet, with_refunds=bool(payment.refunds)
        )
        await _record(tx, before, before, steps)

    await database.transact(Origin(str(payment.order_id)), record)


async def _record(tx: Transaction, before: Payment, after: Payment, steps: Steps) -> None:
    for step in steps:
        after = learn(after, step)
    after, events = news(before, after)
    if is_stuck(before, after):
        log.error("what was paid for nothing could not be given back", order_id=str(after.order_id))
    lost = any(step.outcome is None and not isinstance(step.act, Look) for step in steps)
    await store.record(tx.connection, before, after, lost=lost, again=again(after, steps))
    tx.say(*events)
