"""The orders service on a real broker and database, with a catalogue of two products beside it."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import text

from broker.ids import new_id
from broker.lane import NOBODY
from broker.outbox import Origin
from broker.running import running as run
from broker.service import Service
from contracts.base import Address, Caller, Command, Item, Line, Money, Operation, Page, Refusal
from contracts.catalog import (
    CommitStock,
    GetQuote,
    PriceItems,
    Prices,
    Quote,
    ReleaseStock,
    ReserveStock,
    Restock,
    StockRefused,
    StockReserved,
    no_such_quote,
    quote_expired,
    unknown_sku,
)
from contracts.orders import (
    CancelOrder,
    DeliverOrder,
    ForgetGuest,
    GetOrder,
    ListOrders,
    Order,
    OrderCancelled,
    OrderConfirmed,
    OrderPlaced,
    OrderRefunded,
    OrderRejected,
    Payment,
    PlaceOrder,
    Refund,
    RefundOrder,
    Shipment,
    ShipOrder,
)
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
    RefundPayment,
    VoidPayment,
)
from contracts.users import UserErased
from tests.conftest import Start
from tests.support.eventually import eventually
from tests.support.harness import Harness
from tests.support.vaults import vault
from workers.orders.handlers import service
from workers.orders.personal import seal_some

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]

ALICE, BOB = Caller(id=new_id(), roles=frozenset({"customer"})), Caller(id=new_id(), roles=frozenset({"customer"}))
STAFF = Caller(id=new_id(), roles=frozenset({"staff"}))
EXPIRED = new_id()
"""A quote whose time is over."""
SPADE = PlaceOrder(items=(Item(sku="spade", quantity=2),), payment_method="pm_card_visa")


def catalogue() -> Service:
    shop = Service("catalog")

    @shop.answers(PriceItems)
    async def price_items(question: PriceItems) -> Prices | Refusal:
        if any(item.sku != "spade" for item in question.items):
            return unknown_sku()
        lines = tuple(_line(item) for item in question.items)
        return Prices(lines=lines, total=_eur(sum(line.gross.amount for line in lines)))

    @shop.answers(GetQuote)
    async def get_quote(question: GetQuote) -> Quote | Refusal:
        return quote_expired() if question.id == EXPIRED else no_such_quote()

    for command in (ReserveStock, ReleaseStock, CommitStock, Restock):
        shop.does(command)(_ignore)
    return shop


def gateway() -> Service:
    """Takes commands and does nothing: the tests say what became of them."""
    cashier = Service("payments")
    for command in (AuthorisePayment, CapturePayment, VoidPayment, RefundPayment):
        cashier.does(command)(_ignore)

    @cashier.answers(GetPaymentAction)
    async def get_payment_action(question: GetPaymentAction) -> PaymentAction | Refusal:
        return PaymentAction(client_secret=f"secret of {question.order_id}", next_action={"type": "redirect"})

    return cashier


async def _ignore(command: Command) -> None:
    return


def _line(item: Item) -> Line:
    gross = 1190 * item.quantity
    return Line(
        kind="item",
        sku=item.sku,
        name="Spade",
        quantity=item.quantity,
        net=_eur(gross - 190 * item.quantity),
        tax_rate=Decimal("0.19"),
        tax=_eur(190 * item.quantity),
        gross=_eur(gross),
    )


def _eur(amount: int) -> Money:
    return Money(amount=amount, currency="EUR")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(sharing: Start, shared_amqp: str) -> AsyncIterator[Harness]:
    """One for all tests of this module: each has orders of its own."""
    url = shared_amqp
    async with run(catalogue(), amqp_url=url, database_url=None), run(gateway(), amqp_url=url, database_url=None):
        service.provide(vault())
        yield await sharing(service)


async def placed(bench: Harness, order: PlaceOrder = SPADE, caller: Caller = ALICE) -> Order:
    answer = await bench.ask(order, caller)
    assert isinstance(answer, Order), answer
    return answer


async def has_status(bench: Harness, order: Order, status: str) -> Order:
    async def check() -> Order:
        found = await bench.ask(GetOrder(id=order.id), STAFF)
        assert isinstance(found, Order)
        assert found.status == status
        return found

    return await eventually(check)


async def listed(bench: Harness, caller: Caller) -> tuple[Order, ...]:
    """The first page of the orders that somebody sees, newest first."""
    page = await bench.ask(ListOrders(), caller)
    assert isinstance(page, Page)
    return page.items


async def slug(bench: Harness, asked: Operation[Any], caller: Caller = NOBODY) -> str:
    answer = await bench.ask(asked, caller)
    assert isinstance(answer, Refusal), answer
    return answer.slug


async def test_an_order_is_placed_with_its_lines_and_history(bench: Harness) -> None:
    order = await placed(bench)
    assert (order.status, order.total, order.payment.status) == ("placed", _eur(2380), "pending")
    assert [line.gross.amount for line in order.lines] == [2380]
    assert [step.status for step in order.history] == ["placed"]
    await bench.heard(OrderPlaced, order.id)


async def test_the_saga_drives_it_to_confirmed(bench: Harness) -> None:
    order = await placed(bench)
    await bench.publish(StockReserved(order_id=order.id))
    await bench.publish(PaymentAuthorised(order_id=order.id, amount=order.total))
    await bench.publish(PaymentCaptured(order_id=order.id, amount=order.total))
    assert (await bench.heard(OrderConfirmed, order.id)).total == order.total
    done = await has_status(bench, order, "confirmed")
    assert [step.status for step in done.history] == ["placed", "reserved", "authorised", "confirmed"]
    assert done.payment.status == "captured"


@pytest.mark.parametrize("declined", [False, True])
async def test_a_failure_rejects_it_with_its_reason(bench: Harness, declined: bool) -> None:
    order = await placed(bench)
    if declined:
        await bench.publish(StockReserved(order_id=order.id))
        await bench.publish(PaymentDeclined(order_id=order.id, code="card_declined"))
    else:
        await bench.publish(StockRefused(order_id=order.id, skus=("spade",)))
    await bench.heard(OrderRejected, order.id)
    done = await has_status(bench, order, "rejected")
    assert done.reason == ("payment-declined" if declined else "out-of-stock")


async def test_who_wants_to_wait_gets_the_settled_order(bench: Harness) -> None:
    carol = Caller(id=new_id(), roles=frozenset({"customer"}))
    waiting = asyncio.create_task(placed(bench, SPADE.model_copy(update={"wait_seconds": 4}), carol))
    (began,) = await eventually(lambda: listed(bench, carol))
    await bench.publish(StockRefused(order_id=began.id, skus=("spade",)))
    assert (await waiting).status == "rejected"


async def test_who_waits_in_vain_gets_the_order_as_it_is(bench: Harness) -> None:
    assert (await placed(bench, SPADE.model_copy(update={"wait_seconds": 1}))).status == "placed"


async def test_messages_that_come_twice_and_in_the_wrong_order_leave_it_right(bench: Harness) -> None:
    order = await placed(bench)
    events = [
        StockReserved(order_id=order.id),
        PaymentAuthorised(order_id=order.id, amount=order.total),
        PaymentCaptured(order_id=order.id, amount=order.total),
    ]
    numbered = [(event, bench.number(event)) for event in events]
    for event, headers in [*reversed(numbered), *numbered]:
        await bench.publish(event, headers=headers)
    done = await has_status(bench, order, "confirmed")
    assert [step.status for step in done.history] == ["placed", "reserved", "authorised", "confirmed"]


async def test_anothers_order_is_not_there(bench: Harness) -> None:
    order = await placed(bench)
    assert await slug(bench, GetOrder(id=order.id), BOB) == "no-such-order"
    assert await slug(bench, GetOrder(id=order.id)) == "unauthenticated"
    mine = await bench.ask(GetOrder(id=order.id), ALICE)
    assert isinstance(mine, Order)


async def test_a_guest_opens_an_order_with_its_token_only(bench: Harness) -> None:
    guest = SPADE.model_copy(update={"email": "guest@example.org"})
    order = await placed(bench, guest, Caller())
    assert order.order_token
    opened = await bench.ask(GetOrder(id=order.id, order_token=order.order_token))
    assert isinstance(opened, Order)
    assert await slug(bench, GetOrder(id=order.id, order_token="f" * 32)) == "no-such-order"


async def test_what_does_not_make_an_order_is_refused_and_nothing_is_stored(bench: Harness) -> None:
    nowhere = PlaceOrder(items=(Item(sku="ghost", quantity=1),), payment_method="pm_card_visa")
    both = SPADE.model_copy(update={"quote": new_id()})
    before = await listed(bench, STAFF)
    assert await slug(bench, nowhere, ALICE) == "unknown-sku"
    assert await slug(bench, both, ALICE) == "items-or-quote"
    assert await slug(bench, SPADE) == "email-needed"
    for quote, why in ((EXPIRED, "quote-expired"), (new_id(), "unknown-quote")):
        cited = SPADE.model_copy(update={"items": None, "quote": quote})
        assert await slug(bench, cited, ALICE) == why
    assert await listed(bench, STAFF) == before


async def test_orders_are_listed_newest_first_and_only_ones_own(bench: Harness) -> None:
    carol = Caller(id=new_id(), roles=frozenset({"customer"}))
    mine = [await placed(bench, caller=carol) for _ in range(3)]
    another = await placed(bench, caller=BOB)
    first = await bench.ask(ListOrders(limit=2), carol)
    assert isinstance(first, Page)
    second = await bench.ask(ListOrders(limit=2, cursor=first.next), carol)
    assert isinstance(second, Page)
    assert [order.id for order in (*first.items, *second.items)] == [order.id for order in reversed(mine)]
    assert [order.id for order in (await listed(bench, STAFF))[:4]] == [
        order.id for order in (another, *reversed(mine))
    ]
    assert await slug(bench, ListOrders(cursor="nonsense"), carol) == "invalid-request"


async def test_an_address_stays_as_it_was_given(bench: Harness) -> None:
    home = Address(name="Ada", line1="Hedge Lane 1", postal_code="12345", city="Kew", country="GB")
    order = await placed(bench, SPADE.model_copy(update={"shipping_address": home, "metadata": {"note": "ring twice"}}))
    seen = await bench.ask(GetOrder(id=order.id), ALICE)
    assert isinstance(seen, Order)
    assert (seen.shipping_address, seen.metadata) == (home, {"note": "ring twice"})


async def test_many_orders_at_once_have_numbers_of_their_own(bench: Harness) -> None:
    orders = await asyncio.gather(*(placed(bench) for _ in range(20)))
    assert len({order.number for order in orders}) == 20


# --- what people do with it -------------------------------------------------------------------------------------------


async def confirmed(bench: Harness) -> Order:
    order = await placed(bench)
    await bench.publish(StockReserved(order_id=order.id))
    await bench.publish(PaymentAuthorised(order_id=order.id, amount=order.total))
    await bench.publish(PaymentCaptured(order_id=order.id, amount=order.total))
    return await has_status(bench, order, "confirmed")


async def test_a_customer_is_told_what_the_bank_wants(bench: Harness) -> None:
    order = await placed(bench)
    await bench.publish(StockReserved(order_id=order.id))
    await bench.publish(PaymentRequiresAction(order_id=order.id))
    await has_status(bench, order, "awaiting-customer")
    found = await bench.ask(GetOrder(id=order.id), ALICE)
    assert isinstance(found, Order)
    assert found.payment == Payment(
        status="requires-action", client_secret=f"secret of {order.id}", next_action={"type": "redirect"}
    )


async def test_an_order_whose_time_has_run_out_is_rejected(bench: Harness) -> None:
    order = await placed(bench)
    await bench.publish(StockReserved(order_id=order.id))
    await has_status(bench, order, "reserved")
    await bench.write(text("UPDATE orders SET due_at = now() WHERE id = :id").bindparams(id=order.id))
    found = await has_status(bench, order, "rejected")
    assert (found.reason, found.payment.status) == ("payment-timeout", "unknown")
    await bench.heard(OrderRejected, order.id)


async def test_two_instances_see_to_what_is_overdue_each_order_once(bench: Harness, sharing: Start) -> None:
    await sharing(service)
    orders = [await placed(bench) for _ in range(10)]
    for order in orders:
        await bench.publish(StockReserved(order_id=order.id))
    for order in orders:
        await has_status(bench, order, "reserved")
    ids = [order.id for order in orders]
    await bench.write(text("UPDATE orders SET due_at = now() WHERE id = ANY(:ids)").bindparams(ids=ids))
    for order in orders:
        found = await has_status(bench, order, "rejected")
        assert [step.status for step in found.history].count("rejected") == 1
        await bench.heard(OrderRejected, order.id)
    told = [seen.headers["cloudEvents_subject"] for seen in bench.seen if seen.routing_key == OrderRejected.topic]
    assert [told.count(str(id)) for id in ids] == [1] * 10


async def test_an_order_is_cancelled_by_who_may_see_it_and_only_once(bench: Harness) -> None:
    order = await confirmed(bench)
    assert await slug(bench, CancelOrder(id=order.id), BOB) == "no-such-order"
    assert await slug(bench, CancelOrder(id=order.id)) == "unauthenticated"
    cancelled = await bench.ask(CancelOrder(id=order.id), ALICE)
    assert isinstance(cancelled, Order)
    assert (cancelled.status, cancelled.history[-1].status) == ("cancelled", "cancelled")
    assert await slug(bench, CancelOrder(id=order.id), STAFF) == "not-cancellable"
    await bench.heard(OrderCancelled, order.id)


async def test_a_guest_cancels_with_the_token(bench: Harness) -> None:
    order = await placed(bench, SPADE.model_copy(update={"email": "guest@example.org"}), NOBODY)
    assert await slug(bench, CancelOrder(id=order.id, order_token="wrong")) == "no-such-order"
    cancelled = await bench.ask(CancelOrder(id=order.id, order_token=order.order_token))
    assert isinstance(cancelled, Order)
    assert cancelled.status == "cancelled"


async def test_an_order_ships_in_parcels_and_arrives(bench: Harness) -> None:
    order = await placed(bench)
    one = ShipOrder(id=order.id, lines=(Item(sku="spade", quantity=1),), carrier="DHL", tracking="1")
    assert await slug(bench, one, STAFF) == "not-confirmed"
    order = await confirmed(bench)
    first = await bench.ask(one.model_copy(update={"id": order.id}), STAFF)
    refused = await bench.ask(CancelOrder(id=order.id), STAFF)
    assert isinstance(refused, Refusal)
    assert (refused.slug, refused.detail) == ("not-cancellable", "A parcel of it has left.")
    rest = await bench.ask(ShipOrder(id=order.id, carrier="DHL", tracking="2"), STAFF)
    assert isinstance(first, Shipment)
    assert isinstance(rest, Shipment)
    assert [line.quantity for line in (*first.lines, *rest.lines)] == [1, 1]
    assert await slug(bench, ShipOrder(id=order.id, carrier="DHL", tracking="3"), STAFF) == "not-shippable"
    assert await slug(bench, CancelOrder(id=order.id), STAFF) == "not-cancellable"
    shipped = await bench.ask(DeliverOrder(id=order.id, shipment=first.id), STAFF)
    delivered = await bench.ask(DeliverOrder(id=order.id), STAFF)
    assert isinstance(shipped, Order)
    assert isinstance(delivered, Order)
    assert (shipped.status, delivered.status) == ("shipped", "delivered")
    assert all(shipment.delivered_at for shipment in delivered.shipments)
    assert await slug(bench, DeliverOrder(id=order.id), STAFF) == "not-deliverable"


async def test_money_goes_back_when_the_gateway_says_so(bench: Harness) -> None:
    order = await confirmed(bench)
    asked = RefundOrder(id=order.id, lines=(Item(sku="spade", quantity=1),), restock=True)
    refund = await bench.ask(asked, STAFF)
    assert isinstance(refund, Refund)
    assert (refund.amount, refund.status) == (_eur(1190), "pending")
    told = PaymentRefunded(order_id=order.id, refund_id=refund.id, amount=refund.amount, refunded=refund.amount)
    await bench.publish(told)
    await bench.heard(OrderRefunded, order.id)
    found = await has_status(bench, order, "confirmed")
    assert (found.payment.status, found.refunds[0].status) == ("partially-refunded", "refunded")


async def test_a_refund_that_can_not_be_is_refused(bench: Harness) -> None:
    order = await placed(bench)
    assert await slug(bench, RefundOrder(id=order.id, restock=False), STAFF) == "refund-too-high"
    order = await confirmed(bench)
    assert await slug(bench, RefundOrder(id=order.id, amount=_eur(2381), restock=False), STAFF) == "refund-too-high"
    dollars = Money(amount=1, currency="USD")
    assert await slug(bench, RefundOrder(id=order.id, amount=dollars, restock=False), STAFF) == "wrong-currency"
    assert await slug(bench, RefundOrder(id=new_id(), restock=False), STAFF) == "no-such-order"


# --- what tells who a customer is -------------------------------------------------------------------------------------

HOME = Address(name="Ada", line1="Hedge Lane 1", postal_code="12345", city="Kew", country="GB")
TOLD = {"shipping_address": HOME, "billing_address": HOME, "metadata": {"note": "ring twice"}}


async def tables(bench: Harness, order: Order) -> str:
    """What is kept of an order, and of the answers to whoever placed any."""
    async with bench.session() as db:
        row = (await db.execute(text("SELECT orders::text FROM orders WHERE id = :id"), {"id": order.id})).scalar_one()
        return f"{row}{(await db.execute(text('SELECT answers::text FROM answers'))).all()}"


@pytest.mark.parametrize("caller", [Caller(id=new_id()), NOBODY], ids=["customer", "guest"])
async def test_no_table_shows_who_a_customer_is(bench: Harness, caller: Caller) -> None:
    order = await placed(bench, SPADE.model_copy(update={**TOLD, "email": "ada@example.org"}), caller)
    assert (order.email, order.shipping_address) == ("ada@example.org", HOME)
    kept = await tables(bench, order)
    for word in ("ada@example.org", HOME.line1, "ring twice", order.order_token or HOME.line1):
        assert word not in kept
        assert word.encode().hex() not in kept


async def test_the_orders_of_who_is_erased_stay_and_tell_nobody_whose_they_are(bench: Harness) -> None:
    ada = Caller(id=new_id(), roles=frozenset({"customer"}))
    order, bobs = [await placed(bench, SPADE.model_copy(update=TOLD), caller) for caller in (ada, BOB)]
    assert ada.id is not None
    await bench.publish(UserErased(user_id=ada.id))

    async def is_forgotten() -> bool:
        seen = await bench.ask(GetOrder(id=order.id), STAFF)
        assert isinstance(seen, Order)
        assert (seen.lines, seen.total) == (order.lines, order.total)
        return (seen.shipping_address, seen.billing_address, seen.metadata) == (None, None, {})

    await eventually(is_forgotten)
    assert {seen.id: seen.shipping_address for seen in (await listed(bench, STAFF))[:2]} == {
        order.id: None,
        bobs.id: HOME,
    }
    late = await placed(bench, SPADE.model_copy(update=TOLD), ada)  # with a token that ends within seconds
    assert (late.shipping_address, late.metadata) == (None, {})


async def test_a_guest_is_forgotten_by_who_has_the_token_and_the_order_stays(bench: Harness) -> None:
    guest = SPADE.model_copy(update={**TOLD, "email": "guest@example.org"})
    mine, another = [await placed(bench, guest, NOBODY) for _ in range(2)]
    assert await slug(bench, ForgetGuest(id=mine.id)) == "unauthenticated"
    assert await slug(bench, ForgetGuest(id=mine.id), ALICE) == "no-such-order"
    assert await slug(bench, ForgetGuest(id=mine.id, order_token=another.order_token)) == "no-such-order"
    for order in (mine, another):
        assert await seen_by_staff(bench, order) == ("guest@example.org", HOME)
    by_token, by_staff = ForgetGuest(id=mine.id, order_token=mine.order_token), ForgetGuest(id=mine.id)
    for asked, caller in ((by_token, NOBODY), (by_token, NOBODY), (by_staff, STAFF)):
        assert await bench.ask(asked, caller) is None
    assert await seen_by_staff(bench, mine) == (None, None)
    assert await seen_by_staff(bench, another) == ("guest@example.org", HOME)
    opened = await bench.ask(GetOrder(id=mine.id, order_token=mine.order_token))
    assert isinstance(opened, Order)
    assert (opened.lines, opened.metadata) == (mine.lines, {})


async def seen_by_staff(bench: Harness, order: Order) -> tuple[str | None, Address | None]:
    """Whom an order shows."""
    seen = await bench.ask(GetOrder(id=order.id), STAFF)
    assert isinstance(seen, Order)
    return seen.email, seen.shipping_address


@pytest.mark.parametrize("caller", [ALICE, STAFF], ids=["owner", "staff"])
async def test_an_accounts_order_forgets_nobody_before_the_account_is_closed(bench: Harness, caller: Caller) -> None:
    order = await placed(bench, SPADE.model_copy(update=TOLD))
    assert await slug(bench, ForgetGuest(id=order.id), BOB) == "no-such-order"
    assert await slug(bench, ForgetGuest(id=order.id), caller) == "not-a-guests-order"
    assert (await seen_by_staff(bench, order))[1] == HOME


async def test_a_guest_who_is_forgotten_before_the_order_was_sealed_gets_no_key(bench: Harness) -> None:
    order = await placed(bench, SPADE.model_copy(update={**TOLD, "email": "guest@example.org"}), NOBODY)
    assert await bench.ask(ForgetGuest(id=order.id), STAFF) is None
    old = "UPDATE orders SET email = 'old@example.org', metadata = '{}', personal = NULL WHERE id = :id"
    await bench.write(text(old).bindparams(id=order.id))
    assert bench.service is not None
    assert bench.service.database is not None
    await bench.service.database.transact(Origin("seal"), seal_some)
    assert "old" not in await tables(bench, order)
    assert await seen_by_staff(bench, order) == (None, None)


async def test_what_the_release_before_wrote_is_sealed(bench: Harness) -> None:
    order = await placed(bench)
    old = "UPDATE orders SET email = 'old@example.org', metadata = '{\"note\": \"old\"}' WHERE id = :id"
    await bench.write(text(old).bindparams(id=order.id))
    assert "old@example.org" in await tables(bench, order)
    assert bench.service is not None
    assert bench.service.database is not None
    await bench.service.database.transact(Origin("seal"), seal_some)
    assert "old" not in await tables(bench, order)
    seen = await bench.ask(GetOrder(id=order.id), ALICE)
    assert isinstance(seen, Order)
    assert (seen.email, seen.metadata) == ("old@example.org", {"note": "old"})
