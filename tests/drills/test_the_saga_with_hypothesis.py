"""Hypothesis decides what happens next to a few orders, in whatever order, and the books must be right at the end.

Unlike the histories of a seed it needs no clock: any of the things that wait may happen next, timers among them.
"""

from random import Random
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.drills.simulation.bus import Roughness
from tests.drills.simulation.gateway import METHODS
from tests.drills.simulation.people import wish
from tests.drills.simulation.world import SHORT, World

ORDERS = 3
numbers = st.integers(min_value=0, max_value=10**6)
which = st.integers(min_value=1, max_value=ORDERS)


class Shop(RuleBasedStateMachine):
    """A few orders, from the first to the last thing that happens to them."""

    world: World

    @initialize(seed=st.integers(0, 2**32), scarce=st.booleans(), silent=st.sampled_from((0.0, 0.3)))
    def open(self, seed: int, scarce: bool, silent: float) -> None:
        roughness = Roughness(repeats=0.3, fails=0.2)
        given, lifetime = {"spade": 4 if scarce else 100}, None if scarce else SHORT
        self.world = World(Random(seed), given, roughness=roughness, silent=silent, lifetime=lifetime)

    @precondition(lambda self: len(self.world.orders.sagas) < ORDERS)
    @rule(quantity=st.integers(1, 3), method=st.sampled_from(sorted(set(METHODS))), shipping=st.sampled_from((0, 490)))
    def order(self, quantity: int, method: str, shipping: int) -> None:
        number = len(self.world.orders.sagas) + 1
        self.world.orders.place(wish(number, {"spade": quantity}, method, shipping=shipping))

    @precondition(lambda self: len(self.world.agenda) > 0)
    @rule(choices=st.lists(numbers, min_size=1, max_size=12))
    def let_things_happen(self, choices: list[int]) -> None:
        for choice in choices:
            if len(self.world.agenda):
                self.world.agenda.pick(choice % len(self.world.agenda))

    @rule(number=which, succeeds=st.booleans())
    def answer_the_bank(self, number: int, succeeds: bool) -> None:
        self.world.people.answer_the_bank(UUID(int=number), succeeds=succeeds)

    @rule(number=which)
    def cancel(self, number: int) -> None:
        self.world.people.cancel(UUID(int=number))

    @rule(number=which)
    def ship(self, number: int) -> None:
        self.world.people.ship(UUID(int=number))

    @rule(number=which)
    def deliver(self, number: int) -> None:
        self.world.people.deliver(UUID(int=number))

    @rule(number=which)
    def refund(self, number: int) -> None:
        self.world.people.refund(UUID(int=number))

    @invariant()
    def nothing_is_oversold(self) -> None:
        assert not self.world.catalog.oversold

    @invariant()
    def no_more_goes_back_than_was_taken(self) -> None:
        for money in self.world.gateway.payments.values():
            assert money.refunded <= (money.amount if money.status == "captured" else 0)

    def teardown(self) -> None:
        self.world.agenda.run()
        assert self.world.books.what_is_wrong() == []


Shop.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestShop = Shop.TestCase
