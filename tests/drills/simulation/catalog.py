"""A model of the catalogue's stock: what contracts/catalog.py says of its commands, and no more."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from contracts.base import Said
from contracts.catalog import (
    CommitStock,
    ReleaseStock,
    ReservationExpired,
    ReserveStock,
    Restock,
    StockRefused,
    StockReserved,
)
from tests.drills.simulation.agenda import Agenda
from tests.drills.simulation.bus import Bus, NotYetError
from workers.orders.rules import counted

NOTHING: Counter[str] = Counter()


@dataclass
class Reservation:
    """What an order holds: set aside (`reserved`, `expired`: no longer), or sold (`committed`); and what of it came
    back before it was sold."""

    state: Literal["reserved", "refused", "expired", "committed", "released"]
    items: Counter[str]
    returned: Counter[str] = field(default_factory=Counter)


class Catalog:
    """Stock, by sku: what is available, what is set aside and what was sold always add up to what was given."""

    def __init__(self, bus: Bus, agenda: Agenda, given: Mapping[str, int], *, lifetime: float | None) -> None:
        self._bus = bus
        self._agenda = agenda
        self._lifetime = lifetime
        self.available = Counter(given)
        self.reservations: dict[UUID, Reservation] = {}
        self.restocked: set[UUID] = set()
        self.oversold: list[UUID] = []
        self.expired = 0
        bus.connect(
            "catalog",
            {
                ReserveStock: self.reserve,
                ReleaseStock: self.release,
                CommitStock: self.commit,
                Restock: self.restock,
            },
        )

    def reserve(self, command: ReserveStock) -> tuple[Said, ...]:
        """All or nothing; the first word about an order is the one that counts."""
        if command.order_id in self.reservations:
            return ()
        items = counted(command.items)
        short = tuple(sku for sku in items if self.available[sku] < items[sku])
        if short:
            self.reservations[command.order_id] = Reservation("refused", NOTHING)
            return (StockRefused(order_id=command.order_id, skus=short),)
        self.reservations[command.order_id] = Reservation("reserved", items)
        self._take(command.order_id, items)
        if self._lifetime is not None:
            self._agenda.after(self._lifetime, lambda: self._expire(command.order_id))
        return (StockReserved(order_id=command.order_id),)

    def release(self, command: ReleaseStock) -> tuple[Said, ...]:
        """Give back all that the order holds, and remember that it shall hold nothing any more."""
        held = self.reservations.setdefault(command.order_id, Reservation("released", NOTHING))
        if held.state in ("reserved", "committed"):
            self._give(held.items)
        if held.state != "refused":
            held.state, held.items = "released", NOTHING
        return ()

    def commit(self, command: CommitStock) -> tuple[Said, ...]:
        """It is sold; where the reservation has expired, it is taken once more."""
        held = self.reservations.get(command.order_id)
        if held is None:
            raise NotYetError
        if held.state == "expired":
            self._take(command.order_id, held.items)
        if held.state in ("reserved", "expired"):
            held.state = "committed"
            self._put_back(held, held.returned)
        return ()

    def restock(self, command: Restock) -> tuple[Said, ...]:
        """Goods of an order came back, once a refund; an order that was released has given them back already."""
        held = self.reservations.get(command.order_id)
        if held is None:
            raise NotYetError
        if command.refund_id in self.restocked:
            return ()
        self.restocked.add(command.refund_id)
        if held.state == "committed":
            self._put_back(held, counted(command.items))
        else:
            held.returned += counted(command.items)
        return ()

    def _put_back(self, held: Reservation, items: Counter[str]) -> None:
        self._give(items)
        held.items = held.items - items

    def _expire(self, order_id: UUID) -> None:
        held = self.reservations[order_id]
        if held.state == "reserved":
            self._give(held.items)
            held.state = "expired"
            self.expired += 1
            self._bus.publish("catalog", ReservationExpired(order_id=order_id))

    def _take(self, order_id: UUID, items: Counter[str]) -> None:
        self.available.subtract(items)
        if any(quantity < 0 for quantity in self.available.values()):
            self.oversold.append(order_id)

    def _give(self, items: Counter[str]) -> None:
        self.available.update(items)
