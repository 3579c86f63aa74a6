"""Customers and staff: they order, prove who they are, cancel, ship, deliver and refund, at moments of their own."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from random import Random
from uuid import UUID

from contracts.base import Item, Money
from contracts.catalog import StockItem
from contracts.orders import Shipment
from tests.drills.simulation.agenda import Agenda
from tests.drills.simulation.catalog import Catalog
from tests.drills.simulation.gateway import METHODS, Gateway
from tests.drills.simulation.orders import Orders
from workers.orders.rules import (
    Bought,
    Cancelled,
    ParcelLeft,
    ParcelsArrived,
    RefundAsked,
    Saga,
    left_to_ship,
    plan_refund,
)

_THEN = datetime(2026, 1, 1, tzinfo=UTC)
_SOON_OR_LATE = (0.05, 1.0, 30.0, 600.0, 3600.0)


class People:
    """Whoever does something with an order, and when."""

    def __init__(self, agenda: Agenda, chance: Random, orders: Orders, catalog: Catalog, gateway: Gateway) -> None:
        self._agenda = agenda
        self._chance = chance
        self._orders = orders
        self._catalog = catalog
        self._gateway = gateway
        self._ids = 1_000

    def come(self, number: int, skus: list[str], *, busy: float) -> None:
        """A customer comes and orders; how likely it is that more will be done with the order."""
        chosen = self._chance.sample(skus, self._chance.randint(1, len(skus)))
        wanted = {sku: self._chance.randint(1, 3) for sku in chosen}
        saga = wish(number, wanted, self._chance.choice(METHODS), shipping=self._chance.choice((0, 490)))
        self._agenda.after(self._moment, partial(self._order, saga, busy=busy))

    def _order(self, saga: Saga, *, busy: float) -> None:
        self._orders.place(saga)
        if self._chance.random() < 0.8:
            succeeds = self._chance.random() < 0.7
            for _ in range(3):
                self._later(lambda: self.answer_the_bank(saga.order_id, succeeds=succeeds))
        if self._chance.random() < 0.3 * busy:
            self._later(lambda: self.cancel(saga.order_id))
        for _ in range(self._chance.randrange(4) if self._chance.random() < busy else 0):
            self._later(partial(self._work_on, saga.order_id, self._chance.randint(2, 6)))

    def _later(self, deed: Callable[[], None]) -> None:
        self._agenda.after(self._moment + self._moment, deed)

    def _work_on(self, order_id: UUID, deeds: int) -> None:
        """Staff take an order up and do one thing after the other."""
        self._chance.choice((self.ship, self.refund, self.deliver))(order_id)
        if deeds > 1:
            self._agenda.after(self._chance.uniform(0, 2), lambda: self._work_on(order_id, deeds - 1))

    @property
    def _moment(self) -> float:
        return self._chance.uniform(0, self._chance.choice(_SOON_OR_LATE))

    def _id(self) -> UUID:
        self._ids += 1
        return UUID(int=self._ids)

    def _saga(self, order_id: UUID) -> Saga | None:
        return self._orders.sagas.get(order_id)

    def answer_the_bank(self, order_id: UUID, *, succeeds: bool) -> None:
        """The customer proves who they are, or fails to."""
        self._gateway.authenticate(str(order_id), succeeds=succeeds)

    def cancel(self, order_id: UUID) -> None:
        """It is called off, where it still can be."""
        if self._saga(order_id) is not None:
            self._orders.ask(order_id, Cancelled())

    def ship(self, order_id: UUID) -> None:
        """What is there can be put into a parcel, all of it or a part."""
        saga, held = self._saga(order_id), self._catalog.reservations.get(order_id)
        if saga is None or held is None or held.state != "committed":
            return
        left = left_to_ship(saga)
        least = self._chance.choice((0.0, 1.0))
        lines = tuple(
            StockItem(sku=sku, quantity=self._chance.randint(max(1, int(many * least)), many))
            for sku, many in left.items()
        )
        parcel = Shipment(id=self._id(), lines=lines, carrier="Post", tracking="1", shipped_at=_THEN)
        self._orders.ask(order_id, ParcelLeft(parcel))

    def deliver(self, order_id: UUID) -> None:
        """All that is on its way arrives."""
        if self._saga(order_id) is not None:
            self._orders.ask(order_id, ParcelsArrived(_THEN))

    def refund(self, order_id: UUID) -> None:
        """In full, an amount, or some lines; with the goods or without."""
        saga = self._saga(order_id)
        if saga is None:
            return
        amount, lines = None, None
        kind = self._chance.choice(("amount", "lines", "lines", "all"))
        if kind == "amount":
            amount = Money(amount=self._chance.randint(1, saga.total.amount + 100), currency="EUR")
        elif kind == "lines":
            line = self._chance.choice(saga.bought)
            lines = (Item(sku=line.sku, quantity=self._chance.randint(1, line.quantity + 1)),)
        restock = self._chance.random() < 0.5
        refund = plan_refund(saga, self._id(), amount=amount, lines=lines, restock=restock, now=_THEN)
        if refund is not None:
            self._orders.ask(order_id, RefundAsked(refund))


def wish(number: int, wanted: Mapping[str, int], method: str, *, shipping: int = 0) -> Saga:
    """An order of these quantities that nobody has looked at yet."""
    bought = tuple(Bought(sku, quantity, 333 * quantity + 1) for sku, quantity in wanted.items())
    total = Money(amount=shipping + sum(line.gross for line in bought), currency="EUR")
    return Saga(UUID(int=number), "placed", "pending", None, bought, total, method)
