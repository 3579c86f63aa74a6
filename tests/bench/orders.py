"""Orders

From `POST /orders` to `confirmed`, everything durable. Orders are placed over 32 connections at once, and the clock
stops when the last of them is confirmed; core-ms is the processor time of the named process and its children, divided
by the number of orders. "Idle" orders are placed one at a time, and looked at every 3 ms.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from statistics import median
from typing import Any

import asyncpg

from infra.launcher.failure import Failure
from infra.launcher.state import any_free_port
from tests.bench.costs import Meter
from tests.bench.floor import Traffic, bare_commit, traffic_of
from tests.bench.ground import Ground, ground
from tests.bench.http import Client
from tests.bench.rounds import Figures, Plan, Table, spreads, verdict
from tests.support.customer import visitor
from tests.support.eventually import eventually

AT_ONCE = 32
IDLE_ORDERS = 20
_COST = "core-ms an order"
_COUNT = "SELECT status, count(*) FROM orders.orders GROUP BY status"


def measure(plan: Plan) -> list[Table]:
    """The rate, and where the time goes."""
    with ground(port=any_free_port()) as here:
        shop = asyncio.run(_shop(here))
        rounds = []
        for number in range(plan.rounds):
            plan.say(f"orders, round {number + 1} of {plan.rounds}")
            rounds.append(asyncio.run(_round(here, shop, plan.seconds)))
        plan.say("orders, what one consists of")
        of_one = asyncio.run(_of_one(here, shop, plan.seconds))
        bare = asyncio.run(bare_commit(here))
    totals = spreads([figures for figures, _ in rounds])
    costs = {name: spreads([costs[name] for _, costs in rounds]) for name in rounds[0][1]}
    rate, idle = totals["orders/s to confirmed"].median, totals["idle, p50 ms"].median
    return [
        Table("Orders to confirmed", {"Hedgerow": totals}).saying(
            f"Wanted: at least 75 orders/s; it is {rate:.0f}: {verdict(rate >= 75)}.",
            f"Wanted: at most 80 ms to confirmed on an idle platform; it is {idle:.0f} ms: {verdict(idle <= 80)}.",
        ),
        Table("Where an order's processor time goes", costs).saying(
            f"An order is {of_one.commits:.0f} commits and {of_one.messages:.0f} messages. To commit one row and no"
            f" more costs PostgreSQL and who asks {bare:.2f} core-ms: {of_one.commits * bare:.1f} are the floor of an"
            f" order's commits. A message costs RabbitMQ {costs['rabbitmq'][_COST].median / of_one.messages:.2f}."
        ),
    ]


async def _shop(here: Ground) -> list[bytes]:
    """Stock that will not run out; the bodies of the orders for it."""
    administrator = here.state.read("admin.json")
    async with visitor(str(here.runtime["edge"])) as staff:
        await staff.log_in(administrator["email"], administrator["password"])
        skus = [await staff.add_product(on_hand=1_000_000) for _ in range(20)]
    return [_wish(sku) for sku in skus]


def _wish(sku: str) -> bytes:
    return json.dumps({"items": [{"sku": sku, "quantity": 1}], "payment_method": "pm_card_visa"}).encode()


async def _round(here: Ground, wishes: Sequence[bytes], seconds: float) -> tuple[Figures, dict[str, Figures]]:
    async with _customer(here, wishes) as (client, posts):
        idle = [await _watch(client, posts[number % len(posts)]) for number in range(IDLE_ORDERS)]
        meter, began = Meter({name: here.family(name) for name in here.processes}), time.perf_counter()
        placed = await _placed(here, client, posts, seconds)
        took, costs = time.perf_counter() - began, meter.each(placed, unit=1e-3)
    figures: Figures = {
        "orders/s to confirmed": placed / took,
        _COST: sum(costs.values()),
        "idle, p50 ms": median(idle),
    }
    return figures, {name: {_COST: cost} for name, cost in costs.items()}


async def _of_one(here: Ground, wishes: Sequence[bytes], seconds: float) -> Traffic:
    async with _customer(here, wishes) as (client, posts):

        async def place() -> int:
            placed = await _placed(here, client, posts, seconds)
            await _mailed(here)
            return placed

        await _mailed(here)
        return await traffic_of(here, place)


async def _nothing_waits(database: asyncpg.Connection) -> bool:
    return bool(await database.fetchval("SELECT count(*) = 0 FROM users.mails"))


async def _mailed(here: Ground) -> None:
    """Wait until all mails of what was placed have left: they come last."""
    database = await asyncpg.connect(str(here.runtime["database"]))
    try:
        await eventually(partial(_nothing_waits, database), within=120)
    finally:
        await database.close()


async def _placed(here: Ground, client: Client, posts: Sequence[bytes], seconds: float) -> int:
    """Place orders for so many seconds, and wait until they are confirmed; how many."""
    database, began = await asyncpg.connect(str(here.runtime["database"])), time.perf_counter()
    try:
        already = await _confirmed(database)
        placed = await _place(client, posts, seconds)
        while (confirmed := await _confirmed(database) - already) < placed:
            await asyncio.sleep(0.05)
            if time.perf_counter() - began > 60 + seconds * 10:
                raise Failure(f"{placed - confirmed} of {placed} orders are not confirmed")
    finally:
        await database.close()
    return placed


@asynccontextmanager
async def _customer(here: Ground, wishes: Sequence[bytes]) -> AsyncIterator[tuple[Client, Sequence[bytes]]]:
    """Somebody new, and how they ask for what they wish."""
    edge = str(here.runtime["edge"])
    async with visitor(edge) as customer:
        await customer.register()
        token = customer.http.headers["Authorization"].removeprefix("Bearer ")
    async with Client(edge, token=token) as client:
        yield client, [client.request("POST", "/orders", wish) for wish in wishes]


async def _place(client: Client, posts: Sequence[bytes], seconds: float) -> int:
    """Place orders for so many seconds; how many."""
    placed, until = 0, time.perf_counter() + seconds

    async def customer() -> None:
        nonlocal placed
        while time.perf_counter() < until:
            placed += 1
            await _post(client, posts[placed % len(posts)])

    async with asyncio.TaskGroup() as customers:
        for _ in range(AT_ONCE):
            customers.create_task(customer())
    return placed


async def _watch(client: Client, post: bytes) -> float:
    """Milliseconds from placing an order to seeing it confirmed."""
    began = time.perf_counter()
    look = client.request("GET", f"/orders/{(await _post(client, post))['id']}")
    while json.loads((await client.ask(look))[1])["status"] != "confirmed":  # noqa: ASYNC110 - the shop is asked
        await asyncio.sleep(0.003)
    return (time.perf_counter() - began) * 1000


async def _post(client: Client, post: bytes) -> dict[str, Any]:
    status, body = await client.ask(post)
    if status != 201:
        raise Failure(f"POST /orders said {status}: {body[:300]!r}")
    return dict(json.loads(body))


async def _confirmed(database: asyncpg.Connection) -> int:
    counts = {row["status"]: row["count"] for row in await database.fetch(_COUNT)}
    if counts.get("rejected"):
        raise Failure(f"{counts['rejected']} orders were rejected")
    return int(counts.get("confirmed", 0))
