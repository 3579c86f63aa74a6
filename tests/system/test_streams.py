"""The history of an order as it happens, over real connections."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from tests.support.customer import Customer
from tests.support.eventually import eventually
from tests.support.platform import Platform, end


class Told:
    """What a stream has told so far."""

    def __init__(self) -> None:
        self.statuses: list[str] = []
        self.last = "0"
        self.is_over = asyncio.Event()

    async def read(self, answer: httpx.Response) -> None:
        """To its end."""
        try:
            async for line in answer.aiter_lines():
                if line.startswith("id: "):
                    self.last = line[4:]
                elif line.startswith("data: "):
                    self.statuses.append(json.loads(line[6:])["status"])
        finally:
            self.is_over.set()

    async def reaches(self, status: str) -> None:
        """Wait until it is told."""

        async def is_told() -> bool:
            return status in self.statuses

        await eventually(is_told, within=5)


@asynccontextmanager
async def following(edge: str, path: str, **headers: str) -> AsyncIterator[Told]:
    """A stream that is read while the block lasts."""
    told = Told()
    async with (
        httpx.AsyncClient(base_url=edge, trust_env=False, timeout=20) as http,
        http.stream("GET", path, headers=headers) as answer,
    ):
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"] == "text/event-stream"
        reading = asyncio.create_task(told.read(answer))
        yield told
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def test_the_way_of_an_order_is_told_step_by_step(
    platform: Platform, staff: Customer, customer: Customer
) -> None:
    sku = await staff.add_product(on_hand=5)
    order = await customer.order(sku, card="pm_card_authenticationRequired")
    bearer = customer.http.headers["authorization"]
    ticket = (await customer.http.post("/stream-tickets")).json()["ticket"]
    path = f"/orders/{order['id']}/events"
    async with (
        following(platform.edge, path, authorization=bearer) as by_token,
        following(platform.edge, f"{path}?ticket={ticket}") as by_ticket,
    ):
        await by_token.reaches("awaiting-customer")
        await by_ticket.reaches("awaiting-customer")
        await customer.http.post(f"/orders/{order['id']}/cancellation")
        await asyncio.wait_for(by_token.is_over.wait(), 5)
        await asyncio.wait_for(by_ticket.is_over.wait(), 5)
    assert by_token.statuses == by_ticket.statuses == ["placed", "reserved", "awaiting-customer", "cancelled"]
    gone = await customer.http.get(path, headers={"Last-Event-ID": by_token.last})
    assert gone.status_code == 204


async def test_who_logs_out_is_told_no_more(platform: Platform, staff: Customer, customer: Customer) -> None:
    order = await customer.order(await staff.add_product(on_hand=5))
    bearer = customer.http.headers["authorization"]
    async with following(platform.edge, f"/orders/{order['id']}/events", authorization=bearer) as told:
        await told.reaches("confirmed")
        await customer.http.delete("/sessions/current")
        await asyncio.wait_for(told.is_over.wait(), 2)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_when_an_edge_stops_another_goes_on_where_it_was(
    platform: Platform, staff: Customer, customer: Customer, how: signal.Signals
) -> None:
    order = await customer.settled(await customer.order(await staff.add_product(on_hand=5)))
    bearer, path = customer.http.headers["authorization"], f"/orders/{order['id']}/events"
    process, edge = platform.start_edge()
    try:
        await eventually(lambda: _is_ready(edge), within=20)
        async with following(edge, path, authorization=bearer) as told:
            await told.reaches("confirmed")
            began = time.monotonic()
            end(process, how)
            await asyncio.wait_for(told.is_over.wait(), 5)
            assert time.monotonic() - began < 5
    finally:
        end(process, signal.SIGKILL)
    async with following(platform.edge, path, authorization=bearer, **{"last-event-id": told.last}) as rest:
        shipment = {"carrier": "post", "tracking": "1"}
        assert (await staff.http.post(f"/orders/{order['id']}/shipments", json=shipment)).status_code == 201
        await rest.reaches("shipped")
    assert rest.statuses == ["shipped"]


async def _is_ready(edge: str) -> bool:
    async with httpx.AsyncClient(base_url=edge, trust_env=False) as http:
        try:
            return (await http.get("/readyz")).is_success
        except httpx.TransportError:
            return False
