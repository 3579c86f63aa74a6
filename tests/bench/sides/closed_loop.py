"""So many callers, each asking again as soon as it was answered. peers/closed_loop.mjs is the same in Node."""

import asyncio
import itertools
import json
import os
import time
from collections.abc import Awaitable, Callable

IN_FLIGHT = 64
WARM_UP_SECONDS = 1.0

Ask = Callable[[bytes], Awaitable[bytes]]


async def closed_loop(ask: Ask, *, seconds: float) -> None:
    """Measure, and print the figures as JSON. Every answer must be the question, or the program fails."""
    numbers, took = itertools.count(), list[float]()
    begin = time.perf_counter() + WARM_UP_SECONDS
    end = begin + seconds

    async def caller() -> None:
        while (asked_at := time.perf_counter()) < end:
            question = b'{"word":"%d"}' % next(numbers)
            answer = await ask(question)
            answered_at = time.perf_counter()
            if answer != question:
                raise AssertionError(f"asked {question!r}, answered {answer!r}")
            if asked_at >= begin and answered_at <= end:
                took.append(answered_at - asked_at)

    async with asyncio.TaskGroup() as callers:
        for _ in range(IN_FLIGHT):
            callers.create_task(caller())
    took.sort()
    figures = {"requests/s": len(took) / seconds, "p50 ms": took[len(took) // 2] * 1000}
    print(json.dumps(figures | {"p99 ms": took[len(took) * 99 // 100] * 1000}))


def amqp() -> str:
    """Where the broker is."""
    return os.environ["BENCH_AMQP"]


def seconds() -> float:
    """How long to measure."""
    return float(os.environ["BENCH_SECONDS"])
