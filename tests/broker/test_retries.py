"""Retries: a message that failed waits, comes home, and in the end is kept where people look."""

import json
from typing import Any

import asyncpg
import pytest

from broker import topology
from broker.injection import Attempt
from broker.outbox import Origin, envelope
from broker.telemetry import DEAD_LETTERED, RETRIED
from broker.transaction import DatabaseAwayError
from tests.broker.diary import OPENED, WRITE, Bench, Gate, Opened, Write, count, put, waiting
from tests.support.eventually import eventually
from tests.support.servers import RealServers

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]


class GatewayAwayError(Exception):
    """The handlers of these tests fail with it."""


async def test_a_message_that_fails_once_comes_home_and_has_one_effect(bench: Bench) -> None:
    async def fail_once(_: Any, attempt: Attempt) -> None:
        if attempt == 1:
            raise GatewayAwayError

    bench.behave(fail_once)
    before = count(RETRIED, WRITE, "1s")
    await bench.harness.send(bench.write(1))
    await bench.has_written(1)
    assert await bench.effects() == [(1, 2)]
    assert count(RETRIED, WRITE, "1s") == before + 1


async def test_a_message_visits_every_tier_before_it_is_given_up(bench: Bench) -> None:
    tried: list[int] = []

    async def fail(_: Any, attempt: Attempt) -> None:
        tried.append(attempt)
        raise GatewayAwayError

    bench.behave(fail)
    before = {tier: count(RETRIED, WRITE, tier) for tier in topology.TIERS}
    await bench.harness.send(bench.write(1))
    await bench.dead_letter()
    assert tried == [1, 2, 3, 4, 5]
    assert {tier: count(RETRIED, WRITE, tier) for tier in topology.TIERS} == {t: n + 1 for t, n in before.items()}
    assert await bench.numbers() == []


async def test_a_dead_letter_tells_its_cause_its_stack_and_its_history(bench: Bench) -> None:
    async def fail(_: Any, attempt: Attempt) -> None:
        raise GatewayAwayError(f"attempt {attempt}")

    bench.behave(fail)
    before = count(DEAD_LETTERED, WRITE)
    sent = await bench.harness.send(bench.write(7))
    letter = await bench.dead_letter()
    assert Write.model_validate_json(letter.body) == bench.write(7)
    assert {name: letter.headers[name] for name in sent} == sent
    assert letter.headers["queue"] == WRITE
    assert letter.headers["cause"] == "GatewayAwayError('attempt 5')"
    assert "in fail" in str(letter.headers["stack"])
    history = json.loads(str(letter.headers["failures"]))
    assert [failure["error"] for failure in history] == [f"GatewayAwayError('attempt {n}')" for n in range(1, 6)]
    assert count(DEAD_LETTERED, WRITE) == before + 1


async def test_a_message_that_can_not_be_read_is_given_up_at_once(bench: Bench) -> None:
    before = count(RETRIED, WRITE, "1s")
    headers = envelope("tests", bench.write(1), Origin("test"))
    await put(bench.harness, topology.COMMANDS, Write.topic, b"\xff not JSON", headers)
    letter = await bench.dead_letter()
    assert letter.body == b"\xff not JSON"
    assert "ValidationError" in str(letter.headers["stack"])
    assert count(RETRIED, WRITE, "1s") == before


async def test_a_message_without_our_headers_is_given_up_at_once(bench: Bench) -> None:
    await put(bench.harness, topology.EVENTS, Opened.topic, b'{"account": "x"}', {"colour": "green"})
    letter = await bench.dead_letter()
    assert "MalformedMessageError" in str(letter.headers["cause"])
    assert letter.headers["queue"] == OPENED
    assert letter.headers["colour"] == "green"


async def test_a_message_of_a_newer_version_is_kept_and_not_taken_for_one_that_is_known(bench: Bench) -> None:
    """Nor does it take the place of one, although it has a sequence: what is known goes on."""
    body, newer = bench.opened(1).model_dump_json().encode(), "tests.opened.v2"
    headers = bench.harness.number(bench.opened(1))
    await put(bench.harness, topology.EVENTS, Opened.topic, body, {**headers, "cloudEvents_type": newer})
    letter = await bench.dead_letter()
    assert (letter.body, letter.headers["cloudEvents_type"], letter.headers["queue"]) == (body, newer, OPENED)
    assert newer in str(letter.headers["cause"])
    assert await bench.numbers() == []
    await bench.harness.publish(bench.opened(1), headers=headers)
    await bench.has_written(1)


async def test_a_stranger_may_call_a_message_a_probe(bench: Bench) -> None:
    headers = bench.harness.number(bench.opened(1))
    await put(
        bench.harness, topology.EVENTS, Opened.topic, bench.opened(1).model_dump_json().encode(), headers, "probe"
    )
    await bench.has_written(1)


async def test_headers_of_strangers_are_kept_when_a_message_is_tried_again(bench: Bench) -> None:
    async def fail(_: Any, __: Attempt) -> None:
        raise GatewayAwayError

    bench.behave(fail)
    headers = bench.harness.number(bench.opened(1)) | {"colour": "green", "blob": bytearray(b"\xff")}
    await bench.harness.publish(bench.opened(1), headers=headers)
    letter = await bench.dead_letter()
    assert letter.headers["colour"] == "green"
    assert letter.headers["blob"] == b"\xff"


async def test_nothing_is_tried_while_the_database_is_away(
    bench: Bench, servers: RealServers, shared_database: str
) -> None:
    gate = Gate()

    async def wait_once(said: Any, _: Attempt) -> None:
        if not gate.reached:
            await gate.wait(said.number)

    bench.behave(wait_once)
    before = count(RETRIED, WRITE, "1s")
    await bench.harness.send(bench.write(1))
    await gate.has_seen(1)
    name = shared_database.rsplit("/", 1)[1]
    administrator = await asyncpg.connect(servers.database)
    await administrator.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    await administrator.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
    gate.open()
    await bench.harness.send(bench.write(2))

    async def both_are_taken() -> bool:
        return await waiting(bench.harness, WRITE) == 0

    await eventually(both_are_taken)
    with pytest.raises(DatabaseAwayError):
        async with bench.harness.session():
            pass
    await administrator.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    await administrator.close()

    await bench.has_written_all({(1, 1), (2, 1)})
    assert count(RETRIED, WRITE, "1s") == before
