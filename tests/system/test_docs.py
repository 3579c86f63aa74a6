"""The examples of docs/plug-ins.md and docs/wire-protocol.md, run as they stand there."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import aio_pika
from aio_pika.abc import AbstractQueue

from infra.launcher.state import REPOSITORY
from tests.support.customer import Customer
from tests.support.eventually import eventually
from tests.support.platform import Platform, Process, end
from tests.system.test_a_plug_in import gets, is_heard, plugged_in, readme_example, says


async def test_the_loyalty_service_gives_points_for_orders_and_products_for_points(
    platform: Platform, staff: Customer, customer: Customer, tmp_path: Path
) -> None:
    sku, dear = await staff.add_product(on_hand=10, cents=2500), await staff.add_product(on_hand=10, cents=2600)
    me = (await customer.get("/users/me"))["id"]
    example = python_under("docs/plug-ins.md", "## A whole one")
    page = python_under("docs/plug-ins.md", "## Compositions")
    with plugged_in(platform, tmp_path / "loyalty.py", example.replace("service.run()", f"{page}\nservice.run()")):
        await eventually(lambda: gets(customer, "/points", 200), within=60)
        await eventually(lambda: is_heard(platform, "loyalty.orders.order-confirmed.v1"), within=10)
        async with heard(platform, "loyalty.#") as events:
            assert (await customer.settled(await customer.order(sku)))["status"] == "confirmed"
            await eventually(lambda: has_points(customer, "/points", 25), within=5)
            earned = await eventually(lambda: events.get(fail=False), within=5)
            assert earned is not None
            assert (earned.routing_key, earned.headers["cloudEvents_subject"]) == ("loyalty.points-earned.v1", me)
        await has_points(staff, f"/customers/{me}/points", 25)
        seen = await customer.get("/loyalty-page")
        assert (seen["profile"]["id"], seen["points"], len(seen["orders"]["items"])) == (me, {"points": 25}, 1)
        assert (await customer.http.get(f"/customers/{me}/points")).status_code == 403
        assert (await customer.http.get("/points", headers={"Authorization": ""})).status_code == 401
        assert await spends(customer, "T-nothing") == (404, "no-such-product")
        assert await spends(customer, dear) == (409, "too-few-points")
        assert await spends(customer, sku) == (201, None)
        await has_points(customer, "/points", 0)


async def test_two_instances_of_the_loyalty_service_start_at_once_and_give_every_point_once(
    platform: Platform, staff: Customer, customer: Customer, tmp_path: Path
) -> None:
    sku = await staff.add_product(on_hand=100, cents=100)
    example = python_under("docs/plug-ins.md", "## A whole one")
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with (
        plugged_in(platform, tmp_path / "one" / "loyalty.py", example),
        plugged_in(platform, tmp_path / "two" / "loyalty.py", example),
    ):
        await eventually(lambda: says(tmp_path / "one" / "loyalty.out", "serving"), within=60)
        await eventually(lambda: says(tmp_path / "two" / "loyalty.out", "serving"), within=60)
        orders = [await customer.order(sku) for _ in range(10)]
        assert [(await customer.settled(order))["status"] for order in orders] == ["confirmed"] * 10
        await eventually(lambda: has_points(customer, "/points", 10), within=5)


async def test_a_plug_in_that_comes_back_without_its_routes_lets_them_go(
    platform: Platform, customer: Customer, tmp_path: Path
) -> None:
    example = readme_example().replace("sales", "remnants")
    silent = re.sub(r", http=Http\(.*?\)\)", ")", example)
    assert silent != example
    for text, while_there, afterwards in ((example, 200, 503), (silent, 404, 404)):
        with plugged_in(platform, tmp_path / "remnants.py", text) as plug_in:
            await eventually(partial(gets, customer, "/remnants", while_there), within=60)
            assert end(plug_in, signal.SIGINT) == 0
        await eventually(partial(gets, customer, "/remnants", afterwards), within=5)


async def test_the_subscriber_in_plain_aio_pika_hears_an_order_and_ends_at_ctrl_c(
    platform: Platform, staff: Customer, customer: Customer, tmp_path: Path
) -> None:
    sku, output = await staff.add_product(on_hand=10), tmp_path / "ledger.out"
    example = python_under("docs/wire-protocol.md", "## Durable messages")
    with started(platform, tmp_path / "ledger.py", example) as ledger:
        await eventually(lambda: is_heard(platform, "ledger.orders.order-placed.v1"), within=15)
        number = (await customer.order(sku))["number"]
        await eventually(lambda: says(output, f'"number":"{number}"'), within=5)
        assert end(ledger, signal.SIGINT) == 0
    assert "Traceback" not in output.read_text()


def python_under(document: str, heading: str) -> str:
    """The first Python code of a document's section."""
    section = (REPOSITORY / document).read_text().partition(f"{heading}\n")[2].partition("\n## ")[0]
    found = re.search(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    assert found is not None, f"{document} has no example under {heading}"
    return found[1]


@contextmanager
def started(platform: Platform, file: Path, text: str) -> Iterator[Process]:
    """The file's process, in a folder that has the platform's `.hedgerow`; what it says goes to a `.out` beside it."""
    file.write_text(text)
    (file.parent / ".hedgerow").symlink_to(platform.state.folder)
    with file.with_suffix(".out").open("w") as out:
        process = subprocess.Popen(
            [sys.executable, file.name], cwd=file.parent, env=dict(os.environ), stdout=out, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        end(process)


@asynccontextmanager
async def heard(platform: Platform, topics: str) -> AsyncIterator[AbstractQueue]:
    """A queue with the events that are said meanwhile."""
    async with await aio_pika.connect(platform.servers.amqp) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind("events", topics)
        yield queue


async def has_points(customer: Customer, path: str, points: int) -> bool:
    """Whether the route answers so many points."""
    assert await customer.get(path) == {"points": points}
    return True


async def spends(customer: Customer, sku: str) -> tuple[int, str | None]:
    """The status of an attempt to take a product for points, and the slug of the refusal."""
    answer = await customer.http.post("/points/spendings", json={"sku": sku})
    return answer.status_code, None if answer.is_success else answer.json()["type"].rpartition("/")[2]
