"""Workers are killed in the middle of two hundred orders, and nothing is lost, done twice or left half done.

Killing workers that have nothing to do would prove nothing, so the run counts what the kills brought about: messages
that the broker delivered again, and duplicates that the inbox suppressed. Orders are placed until those are enough.
"""

import asyncio
import secrets
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest

from tests.support.customer import Customer
from tests.support.eventually import eventually
from tests.support.load import Wish, buy_all, insistently
from tests.support.platform import Platform
from tests.support.strikes import strike

ORDERS, AT_MOST, AT_ONCE = 200, 1500, 32
WORKERS = ("orders", "catalog", "payments")
REDELIVERED, SUPPRESSED, GIVEN_UP = (
    "a message was delivered again",
    "a duplicate was suppressed",
    "a message was given up on",
)
SEEN = (REDELIVERED, SUPPRESSED)
ENOUGH = 20
CARDS = ["pm_card_visa"] * 7 + ["pm_card_visa_chargeDeclined"] * 2 + ["pm_sandbox_capture_fails"]
REASONS: dict[str, set[str | None]] = {
    "pm_card_visa": {None, "out-of-stock"},
    "pm_card_visa_chargeDeclined": {"payment-declined", "out-of-stock"},
    "pm_sandbox_capture_fails": {"capture-failed", "out-of-stock"},
}


@pytest.mark.timeout(300)
async def test_killed_workers_lose_nothing_and_do_nothing_twice(
    platform: Platform, staff: Customer, customer: Customer
) -> None:
    stock = {await staff.add_product(on_hand=given, cents=1250): given for given in (5000, 5000, 5000, 25)}
    skus, before, first_pids = list(stock), counted(platform), platform.pids
    wishes: list[Wish] = []

    def wanted() -> Iterator[Wish]:
        while len(wishes) < ORDERS or (not striking.done() and len(wishes) < AT_MOST):
            n = len(wishes)
            wishes.append(Wish(skus[n % len(skus)], 1 + n % 3, CARDS[n % len(CARDS)]))
            yield wishes[-1]

    flow = asyncio.create_task(buy_all(customer.http, wanted(), at_once=AT_ONCE))
    newcomers = asyncio.create_task(register_while_users_is_killed(platform, flow))

    def enough(kills: Counter[str]) -> bool:
        seen = counted(platform) - before
        return min(kills.values()) >= 2 and min(seen[what] for what in SEEN) >= ENOUGH

    striking = asyncio.create_task(strike(platform, *WORKERS, during=flow, enough=enough))
    kills, _, _ = await asyncio.gather(striking, flow, newcomers)

    await every_worker_is_back(platform, staff, first_pids)
    assert {wish.order["reason"] for wish in wishes if wish.order["reason"] not in REASONS[wish.card]} == set()
    await no_order_was_placed_twice(customer, wishes)
    await eventually(lambda: stock_adds_up(staff, stock, wishes), within=10)
    await eventually(lambda: money_adds_up(platform, wishes), within=10)
    seen = counted(platform) - before
    assert min(seen[what] for what in SEEN) >= ENOUGH, (
        f"This run proves nothing: {dict(kills)} kills brought about {seen[REDELIVERED]} redeliveries and "
        f"{seen[SUPPRESSED]} suppressed duplicates, and {ENOUGH} of each are needed."
    )
    assert seen[GIVEN_UP] == 0
    done = f"{seen[REDELIVERED]} redeliveries, {seen[SUPPRESSED]} duplicates suppressed"
    print(f"{len(wishes)} orders, {dict(kills)} kills, {done}")


def counted(platform: Platform) -> Counter[str]:
    """What the workers have logged so far; what they wrote before they were killed is still there."""
    return Counter(entry["event"] for name in WORKERS for entry in platform.log(name))


async def register_while_users_is_killed(platform: Platform, flow: "asyncio.Task[None]") -> None:
    """The service of users has no outbox worth watching: it is killed while a password is being hashed."""
    async with httpx.AsyncClient(base_url=platform.edge, timeout=15, trust_env=False) as http:
        for _ in range(2):
            email, password = f"{secrets.token_hex(8)}@newcomers.example", secrets.token_urlsafe(12)
            body = {"email": email, "password": password, "name": "Kim New"}
            key = secrets.token_hex(8)
            asked = asyncio.create_task(insistently(http, "POST", "/users", body=body, key=key))
            await asyncio.sleep(0.03)
            platform.kill("users")
            assert (await asked).status_code == 201
            session = await insistently(http, "POST", "/sessions", body={"email": email, "password": password})
            assert session.status_code == 201


async def every_worker_is_back(platform: Platform, staff: Customer, first_pids: dict[str, int]) -> None:
    """Nobody helped, and everybody is there again: those that were killed as new processes, the rest as the old."""

    async def check() -> bool:
        page = await staff.get("/services")
        states = {service["name"]: service["state"] for service in page["services"]}
        assert {name: states[name] for name in (*WORKERS, "users")} == dict.fromkeys((*WORKERS, "users"), "present")
        pids = platform.pids
        assert {name for name in pids if pids[name] != first_pids[name]} == {*WORKERS, "users"}
        assert all(psutil.pid_exists(pid) for pid in pids.values())
        return True

    await eventually(check, within=15, every=0.2)


async def no_order_was_placed_twice(customer: Customer, wishes: list[Wish]) -> None:
    """However often it was asked for, under one key there is one order."""
    listed: list[str] = []
    page: dict[str, Any] = {"next": ""}
    while page["next"] is not None:
        page = await customer.get("/orders?limit=100" + (f"&cursor={page['next']}" if page["next"] else ""))
        listed += [order["id"] for order in page["items"]]
    assert sorted(listed) == sorted(wish.order["id"] for wish in wishes)
    for wish in wishes[::40]:
        again = await insistently(customer.http, "POST", "/orders", body=wish.body, key=wish.key)
        assert again.json()["id"] == wish.order["id"]


async def stock_adds_up(staff: Customer, stock: dict[str, int], wishes: list[Wish]) -> bool:
    """What was given is available or sold, and nothing is set aside any more."""
    sold: Counter[str] = Counter()
    for wish in wishes:
        sold[wish.sku] += wish.quantity if wish.order["status"] == "confirmed" else 0
    for sku, given in stock.items():
        left = given - sold[sku]
        assert await staff.stock(sku) == {"on_hand": left, "reserved": 0, "available": left}
    return True


async def money_adds_up(platform: Platform, wishes: list[Wish]) -> bool:
    """Taken once for each confirmed order, never for a rejected one, and nothing is held."""
    kinds: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
    for entry in platform.ledger():
        kinds[entry["reference"]].append((entry["kind"], entry["amount"]))
    for wish in wishes:
        story = kinds[wish.order["id"]]
        taken = [amount for kind, amount in story if kind == "captured"]
        assert taken == ([wish.order["total"]["amount"]] if wish.order["status"] == "confirmed" else [])
        authorised, let_go = (sum(kind == wanted for kind, _ in story) for wanted in ("authorised", "voided"))
        assert authorised == len(taken) + let_go, f"money is held for order {wish.order['number']}: {story}"
    return True
