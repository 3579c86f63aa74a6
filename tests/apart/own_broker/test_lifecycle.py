"""Restarted under load with a new master key, nobody notices; restored, all is as it was; stopped, all end in time."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import psutil
import pytest

from infra.launcher.leftovers import is_running, leftovers
from infra.launcher.lock import running_launcher
from infra.launcher.services import BUSINESS, NAMES
from infra.launcher.state import is_free
from tests.support.collector import Collector
from tests.support.customer import customer_of, staff_of
from tests.support.eventually import eventually
from tests.support.otlp import Receiver
from tests.support.platform import Platform
from tests.support.servers import RealServers

ON_HAND = 10_000


class Load:
    """Clients who never ask twice: what fails, failed. Some keep their connections, one makes a new one each time."""

    def __init__(self, edge: str, authorization: str, sku: str) -> None:
        self._edge = edge
        self._authorization = authorization
        self._sku = sku
        self.failures: list[str] = []
        self.request_ids: set[str] = set()
        self.orders: list[dict[str, Any]] = []
        self.traces: list[str] = []

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(work) for work in (self._read(), self._read(), self._come_anew(), self._order())]
        self._over = False
        try:
            yield
        finally:
            self._over = True
            await asyncio.gather(*tasks)

    async def _read(self) -> None:
        async with self._client() as http:
            while not self._over:
                await self._ask(http, "GET", "/products?limit=1", {"cache-control": "no-cache"})

    async def _come_anew(self) -> None:
        while not self._over:
            async with self._client() as http:
                await self._ask(http, "GET", f"/products/{self._sku}", {"cache-control": "no-cache"})

    async def _order(self) -> None:
        wanted = {"items": [{"sku": self._sku, "quantity": 1}], "payment_method": "pm_card_visa"}
        async with self._client() as http:
            while not self._over:
                trace = secrets.token_hex(16)
                headers = {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01", "authorization": self._authorization}
                answer = await self._ask(http, "POST", "/orders", headers, wanted)
                if answer is not None:
                    self.orders.append(answer.json())
                    self.traces.append(trace)
                await asyncio.sleep(0.15)

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self._edge, timeout=10, trust_env=False)

    async def _ask(
        self, http: httpx.AsyncClient, method: str, path: str, headers: dict[str, str], body: Any = None
    ) -> httpx.Response | None:
        answer = None
        try:
            answer = await http.request(method, path, headers=headers, json=body)
            self.request_ids.add(answer.headers["x-request-id"])
        except httpx.TransportError as error:
            self.failures.append(f"{method} {path}: {error!r}")
        else:
            if answer.is_error:
                self.failures.append(f"{method} {path}: {answer.status_code} {answer.text}")
        await asyncio.sleep(0.1)
        return answer if answer is not None and answer.is_success else None


@pytest.mark.timeout(180)
async def test_nobody_notices_and_nothing_is_lost(platform: Platform, collector: Collector, receiver: Receiver) -> None:
    before, master_key = platform.pids, platform.state.folder / "master-key"
    old_key = master_key.read_text()
    async with staff_of(platform) as staff, customer_of(platform) as customer:
        sku = await staff.add_product(on_hand=ON_HAND)
        load = Load(platform.edge, customer.http.headers["authorization"], sku)
        async with load.going_on():
            commands = ("restart", "rotate-master-key")
            done = await asyncio.gather(*(asyncio.to_thread(platform.launcher, command) for command in commands))
        assert [(one.returncode, one.stderr) for one in done] == [(0, ""), (0, "")], done
        assert load.failures == []
        assert (len(master_key.read_text().split()), old_key in master_key.read_text()) == (1, False)
        assert {name for name, pid in platform.pids.items() if pid != before[name]} == {*BUSINESS, "edge"}

        settled = [await customer.settled(order, within=60) for order in load.orders]
        assert {order["status"] for order in settled} == {"confirmed"}
        captured = [entry["reference"] for entry in platform.ledger() if entry["kind"] == "captured"]
        assert {captured.count(order["id"]) for order in settled} == {1}
        await eventually(lambda: has_available(platform, sku, ON_HAND - len(settled)), within=30)

    async def all_is_told() -> bool:
        logged = "\n".join(collector.lines)
        assert [one for one in load.request_ids if one not in logged] == []
        traced = {span.trace for span in receiver.spans if span.kind == "server"}
        assert set(load.traces) <= traced
        return True

    await eventually(all_is_told, within=30, every=0.5)
    print(f"{len(load.request_ids)} requests, {len(settled)} orders")


async def has_available(platform: Platform, sku: str, wanted: int) -> bool:
    """Whether so many can be ordered."""
    async with staff_of(platform) as staff:
        assert await staff.available(sku) == wanted
    return True


@pytest.mark.parametrize("name", ["nonsense", "gateway"])
def test_what_can_not_be_restarted_is_one_sentence(platform: Platform, name: str) -> None:
    done = platform.launcher("restart", "edge", name)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"hedgerow: There is no {name} to restart; there is {', '.join((*BUSINESS, 'edge'))}.\n"


async def test_a_backup_brings_everything_back(platform: Platform, on_own_broker: RealServers, tmp_path: Path) -> None:
    folder, done = tmp_path / "kept", []
    async with staff_of(platform) as staff, customer_of(platform) as customer:
        sku = await staff.add_product(on_hand=ON_HAND)
        orders = [await customer.order(sku) for _ in range(3)]
        done.append(await asyncio.to_thread(platform.launcher, "backup", str(folder)))
        orders = [await customer.settled(order) for order in orders]
        later = await customer.settled(await customer.order(sku))
    done.append(platform.launcher("restore", str(folder)))
    stop(platform)
    assert "is killed" not in (platform.state.logs / "launcher.log").read_text()
    done.append(platform.launcher("restore", str(folder)))
    before = re.findall(r"kept as (\S+):", done[-1].stdout)
    try:
        assert [one.returncode for one in done] == [0, 1, 0], done
        start_again(platform)
        assert done[1].stderr == "hedgerow: A platform is running here; stop it with ./justw down, then restore.\n"
        async with staff_of(platform) as staff:
            assert await staff.available(sku) == ON_HAND - len(orders)
            again = [await staff.settled(order, within=20) for order in orders]
            assert [order["status"] for order in again] == ["confirmed"] * 3
            assert (await staff.http.get(f"/orders/{later['id']}")).status_code == 404
            new = await staff.settled(await staff.order(sku), within=20)
            assert new["status"] == "confirmed"
        references = [entry["reference"] for entry in platform.ledger() if entry["kind"] == "captured"]
        assert [references.count(order["id"]) for order in [*again, new]] == [1, 1, 1, 1]
    finally:
        for name in before:
            on_own_broker.drop_database(urlunsplit(urlsplit(on_own_broker.database)._replace(path=f"/{name}")))


def stop(platform: Platform) -> None:
    """Nothing is left that runs."""
    launcher, named = running_launcher(platform.state), platform.pids
    assert launcher is not None
    assert set(named) == set(NAMES)
    children = {child.pid for child in psutil.Process(launcher).children(recursive=True)}
    assert children >= set(named.values())
    down = platform.launcher("down")
    assert (down.returncode, down.stderr) == (0, "")
    assert [pid for pid in (launcher, *children) if is_running(pid)] == []
    assert leftovers(platform.state.folder) == []
    assert is_free(platform.port)
    assert platform.state.read("runtime.json") == {}
    assert platform.launcher("status").returncode == 1


def start_again(platform: Platform) -> None:
    """The routes are known at once, while the services are still on their way: it waits for them."""
    up = platform.launcher("up", "--detach")
    assert (up.returncode, up.stderr) == (0, "")
    assert "could not be added" not in up.stdout
    products = httpx.get(f"{platform.edge}/products?limit=1", timeout=10, trust_env=False)
    assert (products.status_code, len(products.json()["items"])) == (200, 1)
    assert platform.launcher("status").returncode == 0
