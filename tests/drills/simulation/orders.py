"""The orders service: the real saga (workers/orders/rules.py) in a shell that keeps its state and its timers."""

from collections import defaultdict
from collections.abc import Callable
from random import Random
from uuid import UUID

from contracts.base import Said
from contracts.catalog import ReservationExpired, StockRefused, StockReserved
from contracts.orders import Status
from contracts.payments import (
    CaptureFailed,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentDeclined,
    PaymentRefunded,
    PaymentRequiresAction,
    PaymentVoided,
    RefundFailed,
)
from tests.drills.simulation.agenda import Agenda
from tests.drills.simulation.bus import Bus
from workers.orders import rules
from workers.orders.rules import Input, Patience, Saga, TimedOut

HEARS: tuple[type[Said], ...] = (
    StockReserved,
    StockRefused,
    ReservationExpired,
    PaymentRequiresAction,
    PaymentAuthorised,
    PaymentDeclined,
    PaymentCaptured,
    CaptureFailed,
    PaymentVoided,
    PaymentRefunded,
    RefundFailed,
)


class Orders:
    """Every order with the statuses that it went through and what was said of it."""

    def __init__(self, bus: Bus, agenda: Agenda, chance: Random, patience: Patience) -> None:
        self._bus = bus
        self._agenda = agenda
        self._chance = chance
        self._patience = patience
        self._due: dict[UUID, float] = {}
        self.sagas: dict[UUID, Saga] = {}
        self.statuses: defaultdict[UUID, list[Status]] = defaultdict(list)
        self.told: defaultdict[UUID, list[type[Said]]] = defaultdict(list)
        self.watch: Callable[[str, Input], None] = lambda what, message: None
        bus.connect("orders", dict.fromkeys(HEARS, self._hear))

    def place(self, saga: Saga) -> None:
        """A new order."""
        self.sagas[saga.order_id] = saga
        self.statuses[saga.order_id].append(saga.status)
        self._bus.publish("orders", rules.begin(saga))

    def ask(self, order_id: UUID, wish: Input) -> bool:
        """Somebody, or the clock, wants something of an order; whether it changed."""
        before = self.sagas[order_id]
        said = self._drive(order_id, wish)
        if self.sagas[order_id] != before:
            self.watch("orders is asked for", wish)
        self._bus.publish("orders", *said)
        return self.sagas[order_id] != before

    def _hear(self, message: Said) -> tuple[Said, ...]:
        return self._drive(UUID(message.aggregate), message)

    def _drive(self, order_id: UUID, message: Input) -> tuple[Said, ...]:
        before = self.sagas[order_id]
        after, said = rules.decide(before, message)
        self.sagas[order_id] = after
        if after.status != before.status:
            self.statuses[order_id].append(after.status)
            self._set_timer(order_id, after.status)
        self.told[order_id] += map(type, said)
        return said

    def _set_timer(self, order_id: UUID, status: Status) -> None:
        self._due.pop(order_id, None)
        wait = self._patience.within(status)
        if wait is not None:
            due = self._due[order_id] = self._agenda.now + wait.total_seconds()
            late = self._chance.uniform(0, 2)
            self._agenda.after(wait.total_seconds() + late, lambda: self._stop_waiting(order_id, due))

    def _stop_waiting(self, order_id: UUID, due: float) -> None:
        if self._due.get(order_id) == due:
            self.ask(order_id, TimedOut())
