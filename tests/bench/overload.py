"""Overload

Pages of 100 products are asked for (no kept answer wanted), while a customer places 5 orders a second. Without the
flood 64 connections ask as soon as they were answered: that is all that this machine can carry. In the flood a little
more than three times as many are asked for, over 768 connections, whatever becomes of them (open loop; from the same
two cores). 20 times a second somebody else asks for such a page, and is answered, or turned away with `Retry-After`.
The edge has three times the share of the processors that others have, as in compose.yaml, where the system lets the
bench arrange it (Linux, as root).
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import quantiles
from typing import Any

import httpx

from infra.launcher.state import any_free_port
from tests.bench.ground import Ground, ground
from tests.bench.h2load import flood
from tests.bench.rounds import Figures, Plan, Table, alternate, verdict
from tests.bench.wrk import load
from tests.support.customer import visitor

TIMES, CONNECTIONS, ORDERS, LOOKS, PRODUCTS = 3.2, 768, 5, 20, 100
ALONE, FLOODED = "without the flood", "in the flood"
ASKED, ANSWERED = "asked/s", "answered/s"
TAKEN, ORDER_P50, ORDER_P99 = "orders taken %", "order, p50 ms", "order, p99 ms"
REFUSED_P50, REFUSED_P99, OTHER = "turned away, p50 ms", "turned away, p99 ms", "failures"
_PATH = f"/products?limit={PRODUCTS}"
_ORDER = {"items": [{"sku": "SPADE-01", "quantity": 1}], "payment_method": "pm_card_visa"}
_THREE_TIMES_THE_SHARE = "-5"
"""Nice levels are powers of 1.25."""


@dataclass(frozen=True)
class Visit:
    """One answer: what it was, and after how many ms."""

    status: int
    took: float
    retry_after: str | None


def measure(plan: Plan) -> list[Table]:
    """Checkout with and without the flood."""
    with ground(port=any_free_port()) as here:
        asyncio.run(_fill(here))
        _prefer_the_edge(here)
        shop = _Shop(here)
        rounds = alternate({ALONE: shop.alone, FLOODED: shop.flooded}, plan)
    table = Table("Checkout while browsing is turned away", rounds)
    times = table.figure(FLOODED, ASKED) / table.figure(ALONE, ANSWERED)
    taken, failures = (table.rows[FLOODED][column].values for column in (TAKEN, OTHER))
    return [
        table.saying(
            f"Asked is {times:.1f} × what can be carried, wanted at least 3 ×: {verdict(times >= 3)}.",
            f"All orders are taken: {verdict(min(taken) == 100)}.",
            "Who looks is answered, or turned away with 503 and Retry-After, and nothing else happens: "
            f"{verdict(max(failures) == 0)}.",
        )
    ]


async def _fill(here: Ground) -> None:
    administrator = here.state.read("admin.json")
    async with visitor(str(here.runtime["edge"])) as staff:
        await staff.log_in(administrator["email"], administrator["password"])
        await staff.post("/products/SPADE-01/stock-movements", {"delta": 1_000_000, "reason": "received"})
        for _ in range(PRODUCTS):
            await staff.add_product(on_hand=1)


def _prefer_the_edge(here: Ground) -> None:
    group = Path(f"/proc/{here.processes['edge']}/autogroup")
    with contextlib.suppress(OSError):
        group.write_text(_THREE_TIMES_THE_SHARE)


class _Shop:
    """What it carries without the flood says how large the flood is."""

    def __init__(self, here: Ground) -> None:
        self._here = here
        self._url = f"{here.runtime['edge']}{_PATH}"
        self._carried = 0.0

    def alone(self, seconds: float) -> Figures:
        self._carried = load(self._url, seconds=seconds, anew=True)["requests/s"]
        visits = asyncio.run(_visit(self._here, seconds))
        return {ASKED: self._carried, ANSWERED: self._carried, **_figures(*visits, refused=())}

    def flooded(self, seconds: float) -> Figures:
        rate = TIMES * self._carried
        with flood(self._url, rate=rate, connections=CONNECTIONS, seconds=seconds) as answers:
            began = time.monotonic()
            orders, looks = asyncio.run(_visit(self._here, seconds))
            lasted, answered = time.monotonic() - began, answers()
        refused = [answer.took for answer in answered if answer.status == 503]
        served = [answer for answer in answered if answer.status == 200]
        figures = _figures(orders, looks, refused=refused)
        return {
            ASKED: len(answered) / lasted,
            ANSWERED: len(served) / lasted,
            **figures,
            OTHER: figures[OTHER] + len(answered) - len(refused) - len(served),
        }


async def _visit(here: Ground, seconds: float) -> tuple[Sequence[Visit], Sequence[Visit]]:
    """The answers to the orders, and to who looks."""
    edge = str(here.runtime["edge"])
    async with visitor(edge) as customer, visitor(edge) as somebody:
        await customer.register()
        orders = _steadily(partial(_asked, partial(customer.http.post, "/orders", json=_ORDER)), ORDERS, seconds)
        anew = {"Cache-Control": "no-cache"}
        looks = _steadily(partial(_asked, partial(somebody.http.get, _PATH, headers=anew)), LOOKS, seconds)
        return await asyncio.gather(orders, looks)


async def _steadily(visit: Callable[[], Coroutine[Any, Any, Visit]], rate: int, seconds: float) -> Sequence[Visit]:
    """So many a second, however long each takes."""
    begin, visits = asyncio.get_running_loop().time(), []
    async with asyncio.TaskGroup() as under_way:
        for number in range(round(rate * seconds)):
            await asyncio.sleep(begin + number / rate - asyncio.get_running_loop().time())
            visits.append(under_way.create_task(visit()))
    return [visit.result() for visit in visits]


async def _asked(ask: Callable[[], Awaitable[httpx.Response]]) -> Visit:
    began = time.perf_counter()
    try:
        answer = await ask()
    except httpx.TransportError:
        return Visit(0, (time.perf_counter() - began) * 1000, None)
    return Visit(answer.status_code, (time.perf_counter() - began) * 1000, answer.headers.get("Retry-After"))


def _figures(orders: Sequence[Visit], looks: Sequence[Visit], *, refused: Sequence[float]) -> Figures:
    told = [visit for visit in looks if visit.status == 200 or (visit.status == 503 and visit.retry_after)]
    taken = sum(visit.status == 201 for visit in orders)
    return {
        TAKEN: 100 * taken / len(orders),
        **_spread(ORDER_P50, ORDER_P99, [visit.took for visit in orders]),
        **_spread(REFUSED_P50, REFUSED_P99, refused),
        OTHER: len(looks) - len(told),
    }


def _spread(p50: str, p99: str, times: Sequence[float]) -> Figures:
    if len(times) < 2:
        return {p50: 0, p99: 0}
    cuts = quantiles(times, n=100)
    return {p50: cuts[49], p99: cuts[98]}
