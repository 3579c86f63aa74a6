"""The whole service at Stripe: over a real broker, a real database, and localstripe."""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from sqlmodel import col, select

from broker.ids import new_id
from contracts.base import Money, Refusal
from contracts.payments import (
    AuthorisePayment,
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
    RefundPayment,
    VoidPayment,
)
from infra.sandbox_gateway.webhooks import signature
from tests.conftest import Start
from tests.support.counting import Counting
from tests.support.endpoint import endpoint
from tests.support.eventually import eventually
from tests.support.forwarder import Forwarder, forwarding
from tests.support.gateways import stripe_event
from tests.support.harness import Harness
from tests.support.localstripe import KEY, LocalStripe, running_localstripe
from workers.payments.gateway import Gateway
from workers.payments.handlers import service
from workers.payments.reconciling import reconcile
from workers.payments.rules import Patience
from workers.payments.stripe.adapter import StripeGateway
from workers.payments.tables import AuditRow, WebhookRow

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]
PRICE = Money(amount=1999, currency="EUR")
PATIENCE = Patience(settled=timedelta(seconds=1))
SECRET = "whsec_of_localstripe"


@pytest.fixture(scope="module")
def stripe() -> Iterator[LocalStripe]:
    with running_localstripe() as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def way(stripe: LocalStripe) -> AsyncIterator[Forwarder]:
    """The way to Stripe."""
    async with forwarding(stripe.url) as it:
        yield it


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(way: Forwarder) -> AsyncIterator[StripeGateway]:
    gateway = StripeGateway(KEY, url=way.url, webhook_secret=SECRET, total=4.0)
    yield gateway
    await gateway.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def payments(sharing: Start, gateway: StripeGateway) -> Harness:
    service.provide(gateway, as_type=Gateway)
    service.provide(PATIENCE)
    return await sharing(service)


async def placed(payments: Harness, method: str = "pm_card_visa") -> UUID:
    """A new order whose money was asked for."""
    command = AuthorisePayment(order_id=new_id(), amount=PRICE, payment_method=method)
    await payments.send(command)
    return command.order_id


async def paid(payments: Harness) -> UUID:
    """A new order whose money is taken."""
    order_id = await placed(payments)
    await payments.heard(PaymentAuthorised, order_id)
    await payments.send(CapturePayment(order_id=order_id))
    await payments.heard(PaymentCaptured, order_id)
    return order_id


async def statuses(stripe: LocalStripe, order_id: UUID) -> list[object]:
    """Those of all payments of the order at Stripe."""
    return [intent["status"] for intent in await stripe.intents(str(order_id))]


async def test_an_order_is_paid_once_and_given_back(payments: Harness, stripe: LocalStripe) -> None:
    order_id = await paid(payments)
    assert await statuses(stripe, order_id) == ["succeeded"]
    part = Money(amount=500, currency="EUR")
    await payments.send(RefundPayment(order_id=order_id, refund_id=(refund_id := new_id()), amount=part))
    refunded = await payments.heard(PaymentRefunded, order_id)
    assert (refunded.refund_id, refunded.amount, refunded.refunded) == (refund_id, part, part)


async def test_an_order_that_is_given_up_holds_nothing(payments: Harness, stripe: LocalStripe) -> None:
    order_id = await placed(payments)
    await payments.heard(PaymentAuthorised, order_id)
    await payments.send(VoidPayment(order_id=order_id))
    await payments.heard(PaymentVoided, order_id)
    assert await statuses(stripe, order_id) == ["canceled"]


async def test_where_answers_get_lost_everything_happens_once(
    payments: Harness, stripe: LocalStripe, way: Forwarder
) -> None:
    """localstripe knows no idempotency keys: only looking first keeps this order from being paid twice."""
    way.to_lose.add("POST /v1/payment_intents")
    order_id = await placed(payments)
    await payments.heard(PaymentAuthorised, order_id, within=10)
    (intent,) = await stripe.intents(str(order_id))
    way.to_lose |= {f"POST /v1/payment_intents/{intent['id']}/capture", "POST /v1/refunds"}
    await payments.send(CapturePayment(order_id=order_id))
    await payments.heard(PaymentCaptured, order_id, within=10)
    await payments.send(RefundPayment(order_id=order_id, refund_id=new_id(), amount=PRICE))
    await payments.heard(PaymentRefunded, order_id, within=10)
    assert way.to_lose == set()
    (intent,) = await stripe.intents(str(order_id))
    assert (intent["status"], await stripe.refunded(str(intent["id"]))) == ("succeeded", [1999])


async def test_an_answer_that_makes_no_sense_is_counted_and_looked_into(
    payments: Harness, stripe: LocalStripe, way: Forwarder
) -> None:
    counting = Counting("hedgerow_gateway_nonsense_total", gateway="stripe")
    way.to_garble.add("POST /v1/payment_intents")
    order_id = await placed(payments)
    await payments.heard(PaymentAuthorised, order_id, within=10)
    assert counting.more == 1
    assert await statuses(stripe, order_id) == ["requires_capture"]


async def test_a_card_is_declined(payments: Harness) -> None:
    order_id = await placed(payments, "pm_card_chargeCustomerFail")
    assert (await payments.heard(PaymentDeclined, order_id)).code == "card_declined"


async def test_a_customer_is_asked_and_the_order_goes_on(payments: Harness, stripe: LocalStripe) -> None:
    order_id = await placed(payments, await stripe.card_that_asks())
    await payments.heard(PaymentRequiresAction, order_id)
    action: PaymentAction | Refusal = await payments.ask(GetPaymentAction(order_id=order_id))
    assert isinstance(action, PaymentAction)
    (intent,) = await stripe.intents(str(order_id))
    assert action.client_secret == intent["client_secret"]
    await stripe.authenticate(str(intent["id"]), str(action.client_secret), succeeded=True)
    await payments.heard(PaymentAuthorised, order_id, within=10)


async def test_a_customer_who_pays_after_all_is_noticed_and_the_money_let_go(
    payments: Harness, stripe: LocalStripe
) -> None:
    order_id = await placed(payments, await stripe.card_that_asks())
    await payments.heard(PaymentRequiresAction, order_id)
    (intent,) = await stripe.intents(str(order_id))
    await stripe.authenticate(str(intent["id"]), str(intent["client_secret"]), succeeded=False)
    await payments.heard(PaymentDeclined, order_id, within=10)
    await stripe.pay_with_another_card(str(intent["id"]))
    (intent,) = await stripe.intents(str(order_id))
    body = stripe_event("payment_intent.amount_capturable_updated", **intent)
    told = ReceiveWebhook(gateway="stripe", body=body, signature=signature(body, SECRET))
    assert await payments.ask(told) is None
    await payments.heard(PaymentAuthorised, order_id)  # a rejected order answers with VoidPayment
    await payments.send(VoidPayment(order_id=order_id))
    await payments.heard(PaymentVoided, order_id)
    assert await statuses(stripe, order_id) == ["canceled"]


async def test_a_webhook_that_stripe_signed_is_kept_and_one_that_was_changed_is_not(
    payments: Harness, stripe: LocalStripe
) -> None:
    async with endpoint() as listening:
        await stripe.tell(listening.url, SECRET)
        order_id = await paid(payments)

        async def told() -> tuple[str, str]:
            found = [(body.decode(), headers["Stripe-Signature"]) for headers, body in listening.posts]
            mine = [post for post in found if str(order_id) in post[0]]
            assert mine
            return mine[0]

        body, signed = await eventually(told)
    changed = ReceiveWebhook(gateway="stripe", body=body.replace("succeeded", "canceled"), signature=signed)
    refused: Refusal | None = await payments.ask(changed)
    assert isinstance(refused, Refusal)
    assert refused.slug == "bad-signature"
    assert await payments.ask(ReceiveWebhook(gateway="stripe", body=body, signature=signed)) is None
    async with payments.session() as db:
        kept = (await db.scalars(select(WebhookRow).where(col(WebhookRow.order_id) == order_id))).one()
    assert (kept.gateway, kept.type) == ("stripe", "payment_intent.succeeded")


async def test_what_is_paid_without_an_order_goes_back(payments: Harness, gateway: StripeGateway) -> None:
    assert payments.service is not None
    database = payments.service.database
    assert database is not None
    await reconcile(database, gateway, PATIENCE)  # from now on
    held = await gateway.authorise(str(nobodys := new_id()), PRICE, "pm_card_visa", key=uuid4().hex)
    await gateway.capture(held.gateway_id, key=uuid4().hex)

    async def is_healed() -> bool:
        await reconcile(database, gateway, PATIENCE)
        async with payments.session() as db:
            found = await db.scalars(select(AuditRow).where(col(AuditRow.order_id) == nobodys))
            return [(row.found, row.done) for row in found] == [("paid-without-order", "refunded")]

    await eventually(is_healed, within=15)
    given_back = await gateway.find(str(nobodys))
    assert (given_back.captured, len(given_back.refunds)) == (1999, 1)
