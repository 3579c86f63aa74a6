"""Calls of the gateway, counted and timed by what became of them."""

from typing import cast

import pytest
from prometheus_client import REGISTRY

from tests.support.counting import Counting
from workers.payments.gateway import Gateway, GatewayRefusal, GatewayUnknown, KeySpent, Outcome
from workers.payments.measured import measured


class Scripted:
    """A gateway of one call."""

    name = "scripted"

    def __init__(self, outcome: Outcome | Exception) -> None:
        self._outcome = outcome

    async def void(self, gateway_id: str, *, key: str) -> Outcome:
        """As it was told."""
        assert (gateway_id, key) == ("payment", "key")
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome


def scripted(outcome: Outcome | Exception) -> Gateway:
    return measured(cast(Gateway, Scripted(outcome)))


async def test_an_answer_passes_through_and_counts() -> None:
    answered = Counting("hedgerow_gateway_calls_total", call="void", outcome="answered")
    timed = Counting("hedgerow_gateway_seconds_count", call="void")
    outcome = Outcome(status="voided")
    assert await scripted(outcome).void("payment", key="key") is outcome
    assert (answered.more, timed.more) == (1, 1)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (GatewayUnknown("lost"), "unknown"),
        (KeySpent("replayed"), "key-spent"),
        (GatewayRefusal("wrong"), "refused"),
        (ZeroDivisionError(), "failed"),
    ],
    ids=repr,
)
async def test_a_failure_is_raised_and_counts_by_its_kind(error: Exception, outcome: str) -> None:
    counted = Counting("hedgerow_gateway_calls_total", call="void", outcome=outcome)
    with pytest.raises(type(error)):
        await scripted(error).void("payment", key="key")
    assert counted.more == 1


def test_nonsense_is_counted_from_zero() -> None:
    """A series that begins with its first case shows no increase."""
    scripted(Outcome(status="voided"))
    assert REGISTRY.get_sample_value("hedgerow_gateway_nonsense_total", {"gateway": "scripted"}) == 0
