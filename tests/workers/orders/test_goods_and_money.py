"""What happens to a confirmed order, as a pure function: parcels, arrivals, refunds."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.base import Item, Money, Said
from contracts.catalog import Restock, StockItem
from contracts.orders import OrderDelivered, OrderRefunded, OrderShipped, Refund, Shipment
from contracts.payments import PaymentRefunded, RefundFailed, RefundPayment
from workers.orders.rules import (
    Bought,
    Cancelled,
    Decision,
    ParcelLeft,
    ParcelsArrived,
    RefundAsked,
    Saga,
    decide,
    left_to_ship,
    plan_refund,
    refundable,
)

ID = UUID(int=7)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
EUROS = Money(amount=3490, currency="EUR")
CONFIRMED = Saga(ID, "confirmed", "captured", None, (Bought("cup", 3, 1000), Bought("pot", 1, 2000)), EUROS, "pm")


def euro(amount: int) -> Money:
    return Money(amount=amount, currency="EUR")


def parcel(number: int, **items: int) -> ParcelLeft:
    lines = tuple(StockItem(sku=sku, quantity=quantity) for sku, quantity in items.items())
    return ParcelLeft(Shipment(id=UUID(int=number), lines=lines, carrier="DHL", tracking=str(number), shipped_at=NOW))


def planned(saga: Saga, number: int = 1, *, amount: int | None = None, restock: bool = False, **items: int) -> Any:
    return plan_refund(
        saga,
        UUID(int=number),
        amount=None if amount is None else euro(amount),
        lines=[Item(sku=sku, quantity=quantity) for sku, quantity in items.items()] or None,
        restock=restock,
        now=NOW,
    )


def refunding(saga: Saga, refund: Refund) -> Saga:
    after, said = decide(saga, RefundAsked(refund))
    assert said == (RefundPayment(order_id=ID, refund_id=refund.id, amount=refund.amount),)
    return after


def refunded(saga: Saga, refund: Refund, total: int) -> Decision:
    return decide(saga, PaymentRefunded(order_id=ID, refund_id=refund.id, amount=refund.amount, refunded=euro(total)))


def kinds(said: tuple[Said, ...]) -> list[type[Said]]:
    return [type(one) for one in said]


def test_an_order_ships_in_parcels_and_is_shipped_with_the_last() -> None:
    first, said = decide(CONFIRMED, parcel(1, cup=2))
    assert (first.status, left_to_ship(first)) == ("confirmed", {"cup": 1, "pot": 1})
    assert isinstance(said[0], OrderShipped)
    assert not said[0].complete
    second, said = decide(first, parcel(2, cup=1, pot=1))
    assert (second.status, left_to_ship(second)) == ("shipped", {})
    assert isinstance(said[0], OrderShipped)
    assert said[0].complete


@pytest.mark.parametrize("items", [{"cup": 4}, {"saucer": 1}, {}])
def test_what_is_not_left_does_not_ship(items: dict[str, int]) -> None:
    assert decide(CONFIRMED, parcel(1, **items)) == (CONFIRMED, ())


def test_an_order_is_delivered_with_its_last_parcel() -> None:
    shipped, _ = decide(decide(CONFIRMED, parcel(1, cup=3))[0], parcel(2, pot=1))
    first, said = decide(shipped, ParcelsArrived(NOW, UUID(int=1)))
    assert (first.status, said) == ("shipped", ())
    delivered, said = decide(first, ParcelsArrived(NOW))
    assert (delivered.status, kinds(said)) == ("delivered", [OrderDelivered])
    assert decide(delivered, ParcelsArrived(NOW)) == (delivered, ())


def test_a_parcel_that_is_unknown_or_there_already_does_not_arrive() -> None:
    shipped, _ = decide(CONFIRMED, parcel(1, cup=3))
    assert decide(shipped, ParcelsArrived(NOW, UUID(int=9))) == (shipped, ())


def test_pieces_of_a_line_cost_the_line_in_the_end() -> None:
    saga, amounts = CONFIRMED, []
    for number in range(3):
        refund = planned(saga, number, cup=1)
        amounts.append(refund.amount.amount)
        saga = refunding(saga, refund)
    assert (amounts, sum(amounts)) == ([333, 333, 334], 1000)
    assert planned(saga, 9, cup=1) is None


def test_all_that_is_left_goes_back_with_its_goods() -> None:
    part = planned(CONFIRMED, 1, cup=1, restock=True)
    saga, said = refunded(refunding(CONFIRMED, part), part, 333)
    assert (saga.status, saga.payment, refundable(saga)) == ("confirmed", "partially-refunded", 3157)
    assert kinds(said) == [OrderRefunded, Restock]
    assert left_to_ship(saga) == {"cup": 2, "pot": 1}
    rest = planned(saga, 2, restock=True)
    assert {item.sku: item.quantity for item in rest.lines} == {"cup": 2, "pot": 1}
    saga, said = refunded(refunding(saga, rest), rest, 3490)
    assert (saga.status, saga.payment, refundable(saga)) == ("refunded", "refunded", 0)
    assert kinds(said) == [OrderRefunded, Restock]


@pytest.mark.parametrize("wanted", [{"amount": 3491}, {"amount": 0}, {"cup": 4}, {"saucer": 1}])
def test_nothing_goes_back_that_was_not_captured(wanted: dict[str, int]) -> None:
    assert planned(CONFIRMED, **wanted) is None  # type: ignore[arg-type]


def test_what_is_about_to_go_back_does_not_go_back_twice() -> None:
    saga = refunding(CONFIRMED, planned(CONFIRMED, amount=3000))
    assert planned(saga, 2, amount=491) is None
    late = planned(CONFIRMED, 3, amount=3490)
    assert decide(saga, RefundAsked(late)) == (saga, ())


def test_a_refund_that_failed_can_be_asked_for_again() -> None:
    refund = planned(CONFIRMED)
    saga, said = decide(
        refunding(CONFIRMED, refund), RefundFailed(order_id=ID, refund_id=refund.id, code="charge_disputed")
    )
    assert (said, refundable(saga), saga.refunds[0].status) == ((), 3490, "failed")


@pytest.mark.parametrize("goes_back", [True, False])
def test_an_order_is_not_shipped_while_its_goods_may_stay_because_a_refund_fails(goes_back: bool) -> None:
    refund = planned(CONFIRMED, restock=True, pot=1)
    after, said = decide(refunding(CONFIRMED, refund), parcel(1, cup=3))
    assert after.status == "confirmed"
    assert [one.complete for one in said if isinstance(one, OrderShipped)] == [False]
    if goes_back:
        assert refunded(after, refund, 2000)[0].status == "shipped"
    else:
        after, _ = decide(after, RefundFailed(order_id=ID, refund_id=refund.id, code="no"))
        assert decide(after, parcel(2, pot=1))[0].status == "shipped"


def test_an_order_whose_goods_are_all_gone_is_shipped_although_some_come_back() -> None:
    halves, _ = decide(CONFIRMED, parcel(1, cup=3))
    refund = planned(halves, restock=True, cup=1)
    after, _ = decide(refunding(halves, refund), parcel(2, pot=1))
    assert after.status == "shipped"
    assert decide(after, RefundFailed(order_id=ID, refund_id=refund.id, code="no"))[0].status == "shipped"


def test_what_was_shipped_and_came_back_is_not_taken_from_what_is_left_to_ship() -> None:
    halves, _ = decide(CONFIRMED, parcel(1, cup=2))
    saga = refunding(halves, planned(halves, restock=True, cup=2))
    assert left_to_ship(saga) == {"cup": 1, "pot": 1}
    assert left_to_ship(refunding(saga, planned(saga, 2, restock=True, cup=1))) == {"pot": 1}


def test_what_is_given_back_before_it_is_shipped_is_not_shipped_any_more() -> None:
    saga = refunding(CONFIRMED, planned(CONFIRMED, restock=True, cup=1))
    assert left_to_ship(saga) == {"cup": 2, "pot": 1}
    assert left_to_ship(decide(saga, parcel(1, cup=2))[0]) == {"pot": 1}


def test_of_what_is_given_back_comes_back_what_was_shipped_and_the_rest_stays() -> None:
    halves, _ = decide(CONFIRMED, parcel(1, cup=1))
    refund = planned(halves, restock=True, cup=2)
    assert [(item.sku, item.quantity) for item in refund.never_shipped] == [("cup", 1)]
    saga = refunding(halves, refund)
    assert left_to_ship(saga) == {"cup": 1, "pot": 1}
    failed, _ = decide(saga, RefundFailed(order_id=ID, refund_id=refund.id, code="no"))
    assert left_to_ship(failed) == {"cup": 2, "pot": 1}


def test_a_refund_is_told_once() -> None:
    refund = planned(CONFIRMED, amount=100)
    saga, _ = refunded(refunding(CONFIRMED, refund), refund, 100)
    assert refunded(saga, refund, 100) == (saga, ())


def test_an_order_is_not_cancelled_while_a_refund_is_under_way() -> None:
    saga = refunding(CONFIRMED, planned(CONFIRMED, amount=100))
    assert decide(saga, Cancelled()) == (saga, ())


@given(st.lists(st.tuples(st.sampled_from(["cup", "pot"]), st.integers(1, 3), st.booleans()), max_size=8))
def test_in_whatever_order_pieces_leave_and_come_back_no_more_leave_than_were_bought_and_not_kept(
    steps: list[tuple[str, int, bool]],
) -> None:
    saga = CONFIRMED
    for number, (sku, quantity, ships) in enumerate(steps):
        if ships:
            saga, _ = decide(saga, parcel(number, **{sku: quantity}))
        elif refund := planned(saga, number, restock=True, **{sku: quantity}):
            saga = refunding(saga, refund)
    for line in saga.bought:
        gone = sum(item.quantity for one in saga.shipments for item in one.lines if item.sku == line.sku)
        kept = sum(item.quantity for one in saga.refunds for item in one.never_shipped if item.sku == line.sku)
        back = sum(item.quantity for one in saga.refunds for item in one.lines if item.sku == line.sku)
        assert left_to_ship(saga).get(line.sku, 0) == line.quantity - gone - kept
        assert back - kept <= gone, "only what was shipped comes back"


@given(st.lists(st.tuples(st.sampled_from(["cup", "pot"]), st.integers(1, 3), st.booleans()), max_size=8))
def test_whatever_is_asked_for_no_more_goes_back_than_came(wishes: list[tuple[str, int, bool]]) -> None:
    saga = replace(CONFIRMED, shipments=())
    for number, (sku, quantity, restock) in enumerate(wishes):
        refund = planned(saga, number, restock=restock, **{sku: quantity})
        if refund is not None:
            saga = refunding(saga, refund)
    given_back = sum(refund.amount.amount for refund in saga.refunds)
    assert given_back + refundable(saga) == 3490
    assert all(quantity >= 0 for quantity in left_to_ship(saga).values())
