"""What several invariants read in the evidence."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from tests.drills.evidence import Evidence
from tests.drills.people import Wish

PAID = ("confirmed", "shipped", "delivered", "refunded")
OVER = ("rejected", "cancelled")
Order = Mapping[str, Any]


def told(found: Evidence) -> Iterable[tuple[Wish, Order]]:
    """Each wish whose order is there, with the order."""
    return ((wish, found.orders[wish.order["id"]]) for wish in found.wishes if wish.order.get("id") in found.orders)


def made(order: Order) -> Iterable[Order]:
    """The refunds that were made."""
    return (refund for refund in order["refunds"] if refund["status"] == "refunded")


def counted(lines: Iterable[Order]) -> Counter[str]:
    """How many of each sku."""
    quantities: Counter[str] = Counter()
    for line in lines:
        quantities[line["sku"]] += line["quantity"]
    return quantities
