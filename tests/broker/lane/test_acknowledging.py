"""What is acknowledged, against a model of the broker: whatever finishes in whatever order."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast
from unittest.mock import patch

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from pamqp import commands, frame

from broker.lane.wire.acknowledging import Acknowledging
from broker.reconnecting import BrokerAwayError

PREFETCH = 8


@dataclass
class ModelBroker:
    """A channel as the broker sees it (1.8.3.13): it takes no tag that it does not wait for, and delivers no more than
    the prefetch allows."""

    number: int = 1
    error: BrokerAwayError | None = None
    delivered: int = 0
    unacknowledged: set[int] = field(default_factory=set)
    acknowledged: set[int] = field(default_factory=set)
    before_flush: list[Callable[[], None]] = field(default_factory=list)
    woken: bool = False

    def wake(self) -> None:
        """The loop's turn will end with a flush."""
        self.woken = True

    def end_of_turn(self) -> None:
        """Flush, if need be."""
        if self.woken:
            self.woken = False
            for add in self.before_flush:
                add()

    @property
    def wire(self) -> "ModelBroker":
        """Both ends in one."""
        return self

    def deliver(self) -> int | None:
        """The next message, unless the prefetch is used up."""
        if len(self.unacknowledged) >= PREFETCH:
            return None
        self.delivered += 1
        self.unacknowledged.add(self.delivered)
        return self.delivered

    def write(self, data: bytes) -> None:
        """Take acknowledgements, as real bytes."""
        while data:
            size, channel, read = frame.unmarshal(data)
            assert (channel, type(read)) == (1, commands.Basic.Ack)
            self._acknowledge(cast(commands.Basic.Ack, read))
            data = data[size:]

    def _acknowledge(self, ack: commands.Basic.Ack) -> None:
        tag = ack.delivery_tag
        assert tag in self.unacknowledged, f"{tag} is not waited for"  # the real one would close the channel (406)
        covered = {waiting for waiting in self.unacknowledged if waiting <= tag} if ack.multiple else {tag}
        self.unacknowledged -= covered
        self.acknowledged |= covered


class AcknowledgingMachine(RuleBasedStateMachine):
    """Handlers finish in any order, and the process may end at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.broker = ModelBroker()
        self.running: list[int] = []
        self.finished: set[int] = set()
        self.acknowledging = Acknowledging(cast(Any, self.broker))

    @rule(number=st.integers(1, PREFETCH))
    def deliver(self, number: int) -> None:
        for _ in range(number):
            if tag := self.broker.deliver():
                self.running.append(tag)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        tag = data.draw(st.sampled_from(self.running))
        self.running.remove(tag)
        self.finished.add(tag)
        self.acknowledging.finish(tag)

    @rule()
    def turn(self) -> None:
        self.broker.end_of_turn()

    @rule()
    def flush(self) -> None:
        self.acknowledging.flush()

    @rule()
    def settle(self) -> None:
        self.broker.end_of_turn()
        assert self.broker.acknowledged == self.finished, "everything finished is acknowledged in the end"
        assert self.broker.unacknowledged == set(self.running), "a slow one holds up nobody but itself"
        oldest = min(self.running, default=self.broker.delivered + 1)
        assert len(self.acknowledging._acknowledged) <= self.broker.delivered - oldest + 1, "what is done is forgotten"

    @invariant()
    def nothing_unfinished_is_acknowledged(self) -> None:
        assert self.broker.acknowledged <= self.finished


TestAcknowledging = AcknowledgingMachine.TestCase
TestAcknowledging.settings = settings(max_examples=60, stateful_step_count=40)


def test_on_a_channel_that_is_gone_nothing_is_acknowledged() -> None:
    machine = AcknowledgingMachine()
    machine.deliver(2)
    machine.broker.error = BrokerAwayError("gone")
    for tag in machine.running:
        machine.acknowledging.finish(tag)
    machine.acknowledging.flush()
    assert machine.broker.acknowledged == set()


def test_what_finished_in_order_costs_one_acknowledgement() -> None:
    machine = AcknowledgingMachine()
    machine.deliver(8)
    for tag in machine.running:
        machine.acknowledging.finish(tag)
    with patch.object(machine.broker, "write") as write:
        machine.acknowledging.flush()
    write.assert_called_once()
