"""Log-outs, suspensions and new roles, as an edge feels them."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import httpx

from tests.support.customer import Customer, visitor
from tests.support.eventually import eventually
from tests.support.platform import Platform, end

FELT_WITHIN = 2.0


async def felt(customer: Customer, expected: int, act: Callable[[], Awaitable[object]]) -> None:
    """After the act the customer's remembered token leads to this status, soon enough."""
    assert (await customer.http.get("/users/me")).status_code == 200
    await act()
    acted = time.monotonic()

    async def is_felt() -> bool:
        return (await customer.http.get("/users/me")).status_code == expected

    await eventually(is_felt)
    assert time.monotonic() - acted < FELT_WITHIN


async def test_a_log_out_is_felt_at_once(customer: Customer) -> None:
    await felt(customer, 401, lambda: customer.http.delete("/sessions/current"))


async def test_a_suspension_is_felt_at_once(customer: Customer, staff: Customer) -> None:
    mine = await customer.get("/users/me")
    await felt(customer, 401, lambda: staff.http.put(f"/users/{mine['id']}/suspension", json={"suspended": True}))
    found = await staff.get(f"/users?email={mine['email']}")
    assert [(user["id"], user["suspended"]) for user in found["items"]] == [(mine["id"], True)]


async def test_new_roles_are_felt_at_once(customer: Customer, staff: Customer) -> None:
    mine = await customer.get("/users/me")
    assert (await customer.http.get("/services")).status_code == 403
    await felt(customer, 401, lambda: staff.http.put(f"/users/{mine['id']}/roles", json={"roles": ["staff"]}))


async def test_every_edge_feels_it_also_one_that_starts_later(platform: Platform) -> None:
    async with AsyncExitStack() as stack:
        here = await (await stack.enter_async_context(visitor(platform.edge))).register()
        running = await stack.enter_async_context(elsewhere(platform, here))
        await felt(running, 401, lambda: here.http.delete("/sessions/current"))
        starting = await stack.enter_async_context(elsewhere(platform, here))
        assert (await starting.http.get("/users/me")).status_code == 401


@asynccontextmanager
async def elsewhere(platform: Platform, somebody: Customer) -> AsyncIterator[Customer]:
    """The same session at an edge that has just become ready."""
    process, edge = platform.start_edge()
    try:
        async with visitor(edge) as there:
            there.http.headers["Authorization"] = somebody.http.headers["Authorization"]
            await eventually(lambda: is_ready(there), within=15)
            yield there
    finally:
        end(process)


async def is_ready(somebody: Customer) -> bool:
    try:
        return (await somebody.http.get("/readyz")).status_code == 200
    except httpx.TransportError:
        return False
