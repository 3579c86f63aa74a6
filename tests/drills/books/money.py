"""Money: held once, taken once, given back once, and our ledger is the gateway's."""

from collections.abc import Iterable

from tests.drills.books.readings import PAID, made
from tests.drills.evidence import Evidence


def _captured_once_or_never(found: Evidence) -> Iterable[str]:
    """An order is captured in total and once if it is paid, and keeps what was not refunded; else nothing is kept."""
    for order_id, order in found.orders.items():
        captured, back = _amounts(found, order_id, "captured"), _amounts(found, order_id, "refunded")
        given_back = sum(refund["amount"]["amount"] for refund in made(order))
        if order["status"] in PAID and (captured != [order["total"]] or sum(back) != given_back):
            yield f"{order_id} is {order['status']} over {order['total']}: captured {captured}, given back {back}"
        if order["status"] not in PAID and (len(captured) > 1 or sum(captured) != sum(back)):
            yield f"{order_id} is {order['status']}: captured {captured}, given back {back}"


def _held_once_at_most(found: Evidence) -> Iterable[str]:
    """The money of an order is held once, or never."""
    for order_id in found.orders:
        if len(held := _amounts(found, order_id, "authorised")) > 1:
            yield f"for {order_id} {held} were held"


def _no_hold_is_open(found: Evidence) -> Iterable[str]:
    """No money is held any more."""
    for order_id in found.orders:
        held = sum(_amounts(found, order_id, "authorised"))
        let_go = sum(_amounts(found, order_id, "voided")) + sum(_amounts(found, order_id, "captured"))
        if held != let_go:
            yield f"for {order_id} {held} was held, and {let_go} was captured or let go"


def _our_ledger_is_the_gateways(found: Evidence) -> Iterable[str]:
    """Orders and our ledger say where the money is as the gateway's does, and the gateway knows no other orders."""
    for order_id, order in found.orders.items():
        captured, back = (sum(_amounts(found, order_id, kind)) for kind in ("captured", "refunded"))
        if found.accounts.get(order_id, (0, 0)) != (captured, back):
            yield f"our ledger has {found.accounts.get(order_id)} for {order_id}, and the gateway's {captured, back}"
        word = "captured" if not back else "refunded" if back == captured else "partially-refunded"
        if order["payment"] not in ({word} if captured else {"voided", "declined"}):
            yield f"{order_id} says {order['payment']}, and at the gateway are {captured} captured, {back} given back"
    yield from {f"there is no order {one['reference']}" for one in found.ledger if one["reference"] not in found.orders}


def _amounts(found: Evidence, order_id: str, kind: str) -> list[int]:
    return found.money[order_id, kind]


CHECKS = (
    _captured_once_or_never,
    _held_once_at_most,
    _no_hold_is_open,
    _our_ledger_is_the_gateways,
)
