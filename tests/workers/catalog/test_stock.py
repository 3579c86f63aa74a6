"""Stock is set aside, given back and sold; nothing is sold twice."""

import asyncio
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import col

from broker.ids import new_token
from broker.outbox import Origin
from contracts.base import Caller
from contracts.catalog import (
    CommitStock,
    GetProduct,
    MoveStock,
    ReleaseStock,
    ReservationExpired,
    ReserveStock,
    Restock,
    StockItem,
    StockMoved,
    StockRefused,
    StockReserved,
)
from tests.support.eventually import eventually
from tests.workers.catalog.shop import Shop
from workers.catalog.stock import Oversold
from workers.catalog.stock import commit as commit_in_stock
from workers.catalog.stock import reserve as reserve_in_stock
from workers.catalog.tables import MovementRow, ReservationRow, StockRow

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture
def sku() -> str:
    """Nobody else's."""
    return f"A-{new_token()[:8]}"


@pytest.fixture
def another_sku() -> str:
    """Nobody else's, and later in every order."""
    return f"B-{new_token()[:8]}"


def an_order(*items: tuple[str, int]) -> ReserveStock:
    return ReserveStock(order_id=uuid4(), items=tuple(StockItem(sku=sku, quantity=n) for sku, n in items))


async def level(shop: Shop, sku: str) -> tuple[int, int]:
    """On hand and reserved."""
    async with shop.session() as session:
        row = (await session.scalars(select(StockRow).where(col(StockRow.sku) == sku))).one()
        return row.on_hand, row.reserved


async def state(shop: Shop, order_id: UUID) -> str | None:
    async with shop.session() as session:
        found: str | None = await session.scalar(
            select(col(ReservationRow.state)).where(col(ReservationRow.order_id) == order_id)
        )
        return found


async def has_returned(shop: Shop, order_id: UUID, items: dict[str, int]) -> bool:
    """Whether this came back, and waits for the word that it was sold."""
    async with shop.session() as session:
        row = (await session.scalars(select(ReservationRow).where(col(ReservationRow.order_id) == order_id))).one()
        return row.returned == items


async def becomes(shop: Shop, order_id: UUID, wanted: str) -> None:
    async def is_so() -> bool:
        return await state(shop, order_id) == wanted

    await eventually(is_so, within=20)


async def has_level(shop: Shop, sku: str, on_hand: int, reserved: int) -> None:
    async def is_so() -> bool:
        assert await level(shop, sku) == (on_hand, reserved)
        return True

    await eventually(is_so, within=20)


async def are_reserved(shop: Shop, *orders: ReserveStock) -> None:
    for order in orders:
        await shop.heard(StockReserved, order.order_id)


# --- reserving --------------------------------------------------------------------------------------------------------


async def test_what_is_reserved_is_not_available_any_more(shop: Shop, sku: str) -> None:
    await shop.sells(sku, on_hand=10)
    order = an_order((sku, 2), (sku, 1))
    await shop.send(order)
    await shop.heard(StockReserved, order.order_id)
    assert await level(shop, sku) == (10, 3)
    assert (await shop.ask(GetProduct(sku=sku))).available == 7


async def test_an_order_gets_all_of_its_items_or_none(shop: Shop, sku: str, another_sku: str) -> None:
    await shop.sells(sku, on_hand=10)
    await shop.sells(another_sku, on_hand=1)
    order = an_order((sku, 5), (another_sku, 2), ("none-such", 1))
    await shop.send(order)
    refused = await shop.heard(StockRefused, order.order_id)
    assert set(refused.skus) == {another_sku, "none-such"}
    assert (await level(shop, sku), await level(shop, another_sku)) == ((10, 0), (1, 0))


async def test_fifty_orders_for_twenty_pieces_get_exactly_twenty(shop: Shop, sku: str) -> None:
    await shop.sells(sku, on_hand=20)
    orders = [an_order((sku, 1)) for _ in range(50)]
    ids = {order.order_id for order in orders}
    await asyncio.gather(*(shop.send(order) for order in orders))
    reserved = [(await shop.heard(StockReserved, *ids, within=20)).order_id for _ in range(20)]
    refused = [(await shop.heard(StockRefused, *ids, within=20)).order_id for _ in range(30)]
    assert {*reserved, *refused} == ids
    assert await level(shop, sku) == (20, 20)


async def test_at_once_nobody_fails_and_nobody_deadlocks(shop: Shop, sku: str, another_sku: str) -> None:
    """Without the service around it, which would try again what failed."""
    await shop.sells(sku, on_hand=30)
    await shop.sells(another_sku, on_hand=20)

    async def reserve(items: dict[str, int]) -> tuple[str, ...]:
        return await shop.database.transact(Origin("test"), lambda tx: reserve_in_stock(tx.connection, items))

    ways = ({sku: 1, another_sku: 1}, {another_sku: 1, sku: 1})
    outcomes = await asyncio.gather(*(reserve(ways[n % 2]) for n in range(50)))
    assert sorted(outcomes) == [()] * 20 + [(another_sku,)] * 30
    assert (await level(shop, sku), await level(shop, another_sku)) == ((30, 20), (20, 20))


async def test_asked_again_for_the_same_order_it_reserves_once_and_says_nothing_twice(shop: Shop, sku: str) -> None:
    await shop.sells(sku, on_hand=10)
    first, other = an_order((sku, 2)), an_order((sku, 1))
    await shop.send(first)
    await shop.heard(StockReserved, first.order_id)
    await shop.send(first)
    await shop.send(first.model_copy(update={"items": (StockItem(sku=sku, quantity=7),)}))
    await shop.send(other)
    assert (await shop.heard(StockReserved, first.order_id, other.order_id)).order_id == other.order_id
    assert await level(shop, sku) == (10, 3)


async def test_a_refused_order_stays_refused(shop: Shop, sku: str) -> None:
    await shop.sells(sku, on_hand=1)
    order, other = an_order((sku, 2)), an_order((sku, 2))
    await shop.send(order)
    await shop.heard(StockRefused, order.order_id)
    await shop.ask(MoveStock(sku=sku, delta=9, reason="goods in"))
    await shop.send(order)
    await shop.send(other)
    assert (await shop.heard(StockReserved, order.order_id, other.order_id)).order_id == other.order_id
    assert (await level(shop, sku), await state(shop, order.order_id)) == ((10, 2), "refused")


# --- giving back and selling ------------------------------------------------------------------------------------------


async def test_what_is_released_is_available_again_once(shop: Shop, sku: str) -> None:
    await shop.sells(sku, on_hand=10)
    order, other = an_order((sku, 4)), an_order((sku, 1))
    await shop.send(order)
    await shop.send(other)
    await are_reserved(shop, order, other)
    for _ in range(3):
        await shop.send(ReleaseStock(order_id=order.order_id))
    await becomes(shop, order.order_id, "released")
    await shop.send(CommitStock(order_id=order.order_id))
    await shop.send(CommitStock(order_id=other.order_id))
    await becomes(shop, other.order_id, "committed")
    assert (await level(shop, sku), await state(shop, order.order_id)) == ((9, 0), "released")


async def test_what_is_committed_leaves_the_stock_once(shop: Shop, sku: str, another_sku: str) -> None:
    await shop.sells(sku, on_hand=10)
    await shop.sells(another_sku, on_hand=10)
    order, other = an_order((sku, 4), (another_sku, 1)), an_order((sku, 1))
    await shop.send(order)
    await shop.send(other)
    await are_reserved(shop, order, other)
    for _ in range(3):
        await shop.send(CommitStock(order_id=order.order_id))
    await becomes(shop, order.order_id, "committed")
    await shop.send(ReleaseStock(order_id=other.order_id))
    await becomes(shop, other.order_id, "released")
    assert (await level(shop, sku), await level(shop, another_sku)) == ((6, 0), (9, 0))


async def test_a_release_that_comes_first_beats_its_reservation(shop: Shop, sku: str) -> None:
    await shop.sells(sku, on_hand=5)
    late, other = an_order((sku, 5)), an_order((sku, 5))
    await shop.send(ReleaseStock(order_id=late.order_id))
    await becomes(shop, late.order_id, "released")
    await shop.send(late)
    await shop.send(other)
    assert (await shop.heard(StockReserved, late.order_id, other.order_id)).order_id == other.order_id
    assert (await level(shop, sku), await state(shop, late.order_id)) == ((5, 5), "released")


async def test_a_commit_that_overtakes_its_reservation_is_done_in_the_end(shop: Shop, sku: str) -> None:
    await shop.sells(sku, on_hand=5)
    order = an_order((sku, 2))
    # Neither waits until the other is stored: the tiers of tests are patient for less than a second.
    await asyncio.gather(shop.send(CommitStock(order_id=order.order_id)), shop.send(order))
    await becomes(shop, order.order_id, "committed")
    assert await level(shop, sku) == (3, 0)


async def test_reserving_and_releasing_at_once_leaves_nothing_reserved(shop: Shop, sku: str) -> None:
    await shop.sells(sku, on_hand=100)
    orders = [an_order((sku, 1)) for _ in range(20)]
    await asyncio.gather(*(shop.send(m) for order in orders for m in (order, ReleaseStock(order_id=order.order_id))))
    for order in orders:
        await becomes(shop, order.order_id, "released")
    assert await level(shop, sku) == (100, 0)


async def sold(shop: Shop, sku: str, quantity: int) -> UUID:
    order = an_order((sku, quantity))
    await shop.send(order)
    await are_reserved(shop, order)
    await shop.send(CommitStock(order_id=order.order_id))
    await becomes(shop, order.order_id, "committed")
    return order.order_id


async def test_what_was_sold_to_an_order_that_is_called_off_is_there_again_once(shop: Shop, sku: str) -> None:
    await shop.sells(sku, on_hand=10)
    order_id = await sold(shop, sku, 4)
    for _ in range(2):
        await shop.send(ReleaseStock(order_id=order_id))
    await becomes(shop, order_id, "released")
    await shop.send(CommitStock(order_id=order_id))
    await sold(shop, sku, 1)
    assert (await level(shop, sku), await state(shop, order_id)) == ((9, 0), "released")


async def test_what_came_back_is_for_sale_and_is_not_given_back_again(shop: Shop, sku: str) -> None:
    await shop.sells(sku, on_hand=10)
    order_id = await sold(shop, sku, 4)
    await shop.send(Restock(order_id=order_id, refund_id=uuid4(), items=(StockItem(sku=sku, quantity=3),)))
    await has_level(shop, sku, 9, 0)
    await shop.send(ReleaseStock(order_id=order_id))
    await becomes(shop, order_id, "released")
    assert await level(shop, sku) == (10, 0)
    await shop.send(Restock(order_id=order_id, refund_id=uuid4(), items=(StockItem(sku=sku, quantity=3),)))
    await sold(shop, sku, 1)
    assert await level(shop, sku) == (9, 0)


async def test_what_came_back_before_it_was_sold_is_remembered_until_then(shop: Shop, sku: str) -> None:
    await shop.sells(sku, on_hand=10)
    order = an_order((sku, 4))
    await shop.send(order)
    await are_reserved(shop, order)
    for _ in range(2):
        await shop.send(Restock(order_id=order.order_id, refund_id=uuid4(), items=(StockItem(sku=sku, quantity=1),)))
    await eventually(lambda: has_returned(shop, order.order_id, {sku: 2}))
    assert await level(shop, sku) == (10, 4)
    await shop.send(CommitStock(order_id=order.order_id))
    await has_level(shop, sku, 8, 0)
    await shop.send(ReleaseStock(order_id=order.order_id))
    await has_level(shop, sku, 10, 0)


async def test_what_came_back_early_is_not_given_back_again_with_all_that_the_order_held(shop: Shop, sku: str) -> None:
    await shop.sells(sku, on_hand=10)
    order = an_order((sku, 4))
    await shop.send(order)
    await are_reserved(shop, order)
    await shop.send(Restock(order_id=order.order_id, refund_id=uuid4(), items=(StockItem(sku=sku, quantity=1),)))
    await eventually(lambda: has_returned(shop, order.order_id, {sku: 1}))
    await shop.send(ReleaseStock(order_id=order.order_id))
    await has_level(shop, sku, 10, 0)
    await shop.send(CommitStock(order_id=order.order_id))
    await sold(shop, sku, 1)
    assert await level(shop, sku) == (9, 0)


# --- reservations that nobody commits ---------------------------------------------------------------------------------


async def overdue(shop: Shop, order: ReserveStock) -> None:
    """Reserved, and expired."""
    await shop.send(order)
    await are_reserved(shop, order)
    late = update(ReservationRow).where(col(ReservationRow.order_id) == order.order_id).values(expires_at=func.now())
    await shop.write(late)
    await shop.heard(ReservationExpired, order.order_id, within=15)


async def test_a_reservation_that_nobody_commits_in_time_is_for_sale_again(shop: Shop, sku: str) -> None:
    await shop.sells(sku, on_hand=10)
    order = an_order((sku, 4))
    await overdue(shop, order)
    assert (await level(shop, sku), await state(shop, order.order_id)) == ((10, 0), "expired")


async def test_what_expired_and_was_called_off_is_not_sold_by_a_late_word(shop: Shop, sku: str) -> None:
    await shop.sells(sku, on_hand=10)
    order = an_order((sku, 4))
    await overdue(shop, order)
    await shop.send(ReleaseStock(order_id=order.order_id))
    await becomes(shop, order.order_id, "released")
    await shop.send(CommitStock(order_id=order.order_id))
    await sold(shop, sku, 1)
    assert (await level(shop, sku), await state(shop, order.order_id)) == ((9, 0), "released")


async def test_it_is_remembered_also_for_what_is_sold_after_its_reservation_expired(shop: Shop, sku: str) -> None:
    await shop.sells(sku, on_hand=10)
    order = an_order((sku, 4))
    await overdue(shop, order)
    await shop.send(Restock(order_id=order.order_id, refund_id=uuid4(), items=(StockItem(sku=sku, quantity=1),)))
    await eventually(lambda: has_returned(shop, order.order_id, {sku: 1}))
    await shop.send(CommitStock(order_id=order.order_id))
    await has_level(shop, sku, 7, 0)


async def test_what_is_paid_after_its_reservation_expired_is_sold_if_it_is_there(shop: Shop, sku: str) -> None:
    await shop.sells(sku, on_hand=10)
    order = an_order((sku, 4))
    await overdue(shop, order)
    await shop.send(CommitStock(order_id=order.order_id))
    await becomes(shop, order.order_id, "committed")
    assert await level(shop, sku) == (6, 0)


async def test_what_is_paid_and_gone_oversells_nothing_and_says_so(shop: Shop, sku: str) -> None:
    await shop.sells(sku, on_hand=4)
    order = an_order((sku, 4))
    await overdue(shop, order)
    await sold(shop, sku, 1)
    with pytest.raises(Oversold):
        await shop.database.transact(Origin("test"), lambda tx: commit_in_stock(tx.connection, order.order_id))
    assert (await level(shop, sku), await state(shop, order.order_id)) == ((3, 0), "expired")


# --- moving -----------------------------------------------------------------------------------------------------------


async def test_a_movement_changes_the_level_and_is_remembered(shop: Shop, sku: str) -> None:
    await shop.sells(sku, on_hand=1)
    clerk = Caller(id=uuid4(), roles=frozenset({"staff"}))
    moved = await shop.ask(MoveStock(sku=sku, delta=4, reason="goods in", reference="PO-7"), caller=clerk)
    assert (moved.on_hand, moved.reserved, moved.available) == (5, 0, 5)
    assert await shop.heard(StockMoved, sku) == StockMoved(sku=sku, delta=4, on_hand=5)
    async with shop.session() as session:
        row = (await session.scalars(select(MovementRow))).one()
    assert (row.delta, row.on_hand, row.reason, row.reference, row.moved_by) == (4, 5, "goods in", "PO-7", clerk.id)


async def test_a_movement_never_takes_what_is_reserved(shop: Shop, sku: str) -> None:
    await shop.sells(sku, on_hand=5)
    order = an_order((sku, 3))
    await shop.send(order)
    await shop.heard(StockReserved, order.order_id)
    refusal = await shop.refused(MoveStock(sku=sku, delta=-3, reason="theft"))
    assert (refusal.slug, refusal.status) == ("stock-is-reserved", 409)
    assert (await shop.ask(MoveStock(sku=sku, delta=-2, reason="theft"))).available == 0


async def test_there_is_nothing_to_move_of_an_unknown_product(shop: Shop) -> None:
    assert (await shop.refused(MoveStock(sku="NONE", delta=1, reason="goods in"))).slug == "no-such-product"


async def test_movements_at_once_all_count(shop: Shop, sku: str) -> None:
    await shop.sells(sku, on_hand=0)
    await asyncio.gather(*(shop.ask(MoveStock(sku=sku, delta=1, reason="goods in")) for _ in range(10)))
    assert await level(shop, sku) == (10, 0)


async def test_the_database_itself_refuses_an_impossible_level(shop: Shop, sku: str) -> None:
    await shop.sells(sku, on_hand=10)
    for wrong in ({"reserved": -1}, {"reserved": 11}, {"on_hand": -1}):
        async with shop.session() as session:
            with pytest.raises(IntegrityError, match="stock_reserved_check"):
                await session.execute(update(StockRow).values(wrong))
            await session.rollback()
