"""A world, and the history that a seed makes of it."""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from tests.drills.simulation.agenda import Agenda
from tests.drills.simulation.books import Books
from tests.drills.simulation.bus import Bus, Roughness
from tests.drills.simulation.catalog import Catalog
from tests.drills.simulation.gateway import Gateway
from tests.drills.simulation.orders import Orders
from tests.drills.simulation.payments import Payments
from tests.drills.simulation.people import People
from workers.orders.rules import Patience

SHORT = 900.0
"""A reservation that expires before anybody stops waiting, in seconds."""
_ODDS = (0.0, 0.1, 0.3)


class World:
    """A shop with this stock, on a bus so rough, with a gateway so silent; stock is set aside for `lifetime` seconds.

    Where reservations may expire, there must be enough of everything: goods that were sold to somebody else after that
    are for people to settle, no rule can.
    """

    def __init__(
        self, chance: Random, given: Mapping[str, int], *, roughness: Roughness, silent: float, lifetime: float | None
    ) -> None:
        self.given = given
        self.agenda = Agenda()
        self.bus = Bus(self.agenda, chance, roughness)
        self.catalog = Catalog(self.bus, self.agenda, given, lifetime=lifetime)
        self.gateway = Gateway(self.agenda, chance, silent)
        self.payments = Payments(self.bus, self.agenda, chance, self.gateway)
        self.orders = Orders(self.bus, self.agenda, chance, Patience())
        self.people = People(self.agenda, chance, self.orders, self.catalog, self.gateway)

    @property
    def books(self) -> Books:
        """What the services have, to be checked."""
        return Books(self.given, self.orders, self.catalog, self.payments, self.gateway, self.bus)

    def tell(self, say: Callable[[str], None]) -> None:
        """Say a line about each thing that happens."""

        def tell(what: str, message: Any) -> None:
            say(f"{self.agenda.now:10.2f} {what} {message!r}")

        self.bus.watch = self.orders.watch = tell


class BrokenError(AssertionError):
    """A history ended with books that do not add up."""


def world_of(seed: int) -> World:
    """The world that a seed makes, before anything has happened in it."""
    chance = Random(seed)
    roughness = Roughness(*(chance.choice(_ODDS) for _ in range(3)))
    lifetime = chance.choice((None, None, SHORT))
    skus = ["spade", "rake"][: chance.randint(1, 2)]
    given = {sku: 100 if lifetime else chance.randint(0, 8) for sku in skus}
    world = World(chance, given, roughness=roughness, silent=chance.choice(_ODDS), lifetime=lifetime)
    busy = chance.choice((0.2, 0.6, 1.0))
    for number in range(1, 1 + chance.randint(1, 5)):
        world.people.come(number, skus, busy=busy)
    return world


def live(seed: int) -> World:
    """Live a history to its end and check its books. Raises `BrokenError`, which says how to see it again."""
    world = world_of(seed)
    try:
        world.agenda.run()
        wrong = "\n".join(world.books.what_is_wrong())
    except Exception as error:
        raise BrokenError(f"History {seed} failed: {error!r}\n{_again(seed)}") from error
    if wrong:
        raise BrokenError(f"History {seed} went wrong:\n{wrong}\n{_again(seed)}")
    return world


def _again(seed: int) -> str:
    return f"To see it: python -m tests.drills.simulation --seed {seed} --runs 1"
