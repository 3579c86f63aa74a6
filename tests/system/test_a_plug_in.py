"""A service in one file of somebody else's folder, plugged in while the platform runs: the README's own example."""

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from infra.launcher.state import REPOSITORY
from tests.support.customer import Customer
from tests.support.eventually import eventually
from tests.support.platform import Platform, Process, end

THIEF = """
from broker.service import Http, Service
from contracts.base import Page, Query

class ListPrices(Query[Page[str]]):
    topic = "thief.list-prices.v1"

class ShowPrice(Query[Page[str]]):
    topic = "thief.show-price.v1"
    sku: str

service = Service("thief")

@service.answers(ListPrices, http=Http("GET", "/thief/prices", who="anyone"))
async def list_prices(question: ListPrices) -> Page[str]:
    return Page(items=("stolen",))

@service.answers(ShowPrice, http=Http("GET", "/products/{sku}", who="anyone"))
async def show_price(question: ShowPrice) -> Page[str]:
    return Page(items=("stolen",))

service.run()
"""
IMPOSTOR = THIEF.replace('"thief.show-price.v1"', '"catalog.get-product.v1"')


async def test_the_readmes_example_hears_every_order_in_turn_and_is_missed_when_it_stops(
    platform: Platform, staff: Customer, customer: Customer, tmp_path: Path
) -> None:
    pids, sku = platform.pids, await staff.add_product(on_hand=1000)
    with plugged_in(platform, tmp_path / "sales.py", readme_example()) as plug_in:
        await eventually(lambda: gets(customer, "/sales", 200), within=60)
        await eventually(lambda: is_heard(platform, "sales.orders.order-placed.v1"), within=10)
        placed = [(await customer.order(sku))["number"] for _ in range(20)]
        heard = await eventually(lambda: listed(customer, "/sales", len(placed)), within=10)
        assert heard == placed
        end(plug_in)
        await eventually(lambda: gets(customer, "/sales", 503), within=5)
    assert platform.pids == pids


async def test_a_claim_to_anothers_route_is_refused_for_all_to_see(
    platform: Platform, staff: Customer, customer: Customer, tmp_path: Path
) -> None:
    sku = await staff.add_product(on_hand=1)
    with plugged_in(platform, tmp_path / "thief.py", THIEF):
        await eventually(lambda: gets(customer, "/thief/prices", 200), within=60)
        refused = (await staff.get("/services"))["refused"]
        assert ("thief", "GET /products/{sku}", "the path is held by catalog") in {
            (claim["service"], claim["claim"], claim["reason"]) for claim in refused
        }
        assert [(await customer.get(f"/products/{sku}"))["sku"] for _ in range(10)] == [sku] * 10
        await eventually(lambda: says(tmp_path / "thief.out", "a claim of this service was refused"))


def test_a_claim_to_anothers_operation_ends_the_plug_in_with_the_reason(platform: Platform, tmp_path: Path) -> None:
    with plugged_in(platform, tmp_path / "thief.py", IMPOSTOR) as plug_in:
        assert plug_in.wait(20) == 1
    assert "catalog.get-product.v1 belongs to another service" in (tmp_path / "thief.out").read_text()


@pytest.mark.parametrize("name", ["catalog", "edge"])
def test_a_name_of_the_platform_is_refused(platform: Platform, tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text(THIEF)
    done = platform.launcher("run", str(tmp_path / f"{name}.py"))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"{name} is a name of the platform's own" in done.stderr


async def test_a_granted_plug_in_gets_what_was_granted_until_it_is_revoked(
    platform: Platform, staff: Customer, customer: Customer, tmp_path: Path
) -> None:
    done = platform.launcher("grant", "thief", "--routes", "/thief")
    accounts = dict(re.findall(r"^(HEDGEROW_\w+)='(.*)'$", done.stdout, re.MULTILINE))
    greedy = THIEF.replace("/products/{sku}", "/free/{sku}")  # nobody's, and not granted
    with started(tmp_path / "thief.py", greedy, sys.executable, "thief.py", told=accounts):
        assert "thief has a grant" in platform.launcher("run", str(tmp_path / "thief.py")).stderr
        await eventually(lambda: gets(customer, "/thief/prices", 200), within=60)
        claims = {(claim["claim"], claim["reason"]) for claim in (await staff.get("/services"))["refused"]}
        assert ("GET /free/{sku}", "the path is not granted by its login, which has /thief") in claims
        await gets(customer, "/free/x", 404)
        assert platform.launcher("revoke", "thief", "--drop-data").returncode == 0
        await eventually(lambda: gets(customer, "/thief/prices", 404), within=5)
    assert "nothing to take from thief" in platform.launcher("revoke", "thief").stderr


def readme_example() -> str:
    """The Python code under the README's heading "Plug in a service"."""
    section = (REPOSITORY / "README.md").read_text().partition("## Plug in a service")[2].partition("\n## ")[0]
    found = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def plugged_in(platform: Platform, file: Path, text: str) -> AbstractContextManager[Process]:
    """The file's process, started by `run`."""
    return started(file, text, sys.executable, "-m", "infra.launcher", "run", file.name, told=platform.environment)


@contextmanager
def started(file: Path, text: str, *command: str, told: Mapping[str, str]) -> Iterator[Process]:
    """The file's process, started in the file's folder; what it says goes to a `.out` beside it."""
    file.write_text(text)
    environment = {**os.environ, **told, "PYTHONPATH": str(REPOSITORY)}
    with file.with_suffix(".out").open("w") as out:
        process = subprocess.Popen(command, cwd=file.parent, env=environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        end(process)


async def gets(customer: Customer, path: str, status: int) -> bool:
    """Whether the route answers so; in a tenth of a second if it is to say that nobody is there."""
    started = time.monotonic()
    answer = await customer.http.get(path)
    assert answer.status_code == status, answer.text
    assert status != 503 or time.monotonic() - started < 0.1
    return True


async def is_heard(platform: Platform, queue: str) -> bool:
    """Whether somebody consumes the queue."""
    return queue in {consumer["queue"]["name"] for consumer in platform.broker("consumers")}


async def says(output: Path, words: str) -> bool:
    """Whether the plug-in's output has these words."""
    return words in await asyncio.to_thread(output.read_text)


async def listed(customer: Customer, path: str, wanted: int) -> list[Any]:
    """The items of a list once there are so many."""
    items = list((await customer.get(path))["items"])
    assert len(items) >= wanted
    return items
