"""What the running platform sends to a collector of logs."""

import json
import secrets

import psutil

from infra.launcher.services import BUSINESS
from tests.support.collector import Collector
from tests.support.customer import Customer
from tests.support.ecs import breaches
from tests.support.eventually import eventually
from tests.support.platform import Platform


async def test_every_line_arrives_in_the_fields_of_ecs_and_without_what_a_customer_wrote(
    platform: Platform, collector: Collector, customer: Customer, staff: Customer
) -> None:
    sku, secret = await staff.add_product(on_hand=10), f"secret-{secrets.token_hex(6)}"
    assert (await customer.settled(await customer.order(sku)))["status"] == "confirmed"
    answer = await customer.http.get(f"/nothing/{secret}?q={secret}", headers={"User-Agent": secret})
    mine = answer.headers["x-request-id"]

    async def came() -> bool:
        return any(mine in line for line in collector.lines)

    await eventually(came, within=10)
    lines = [json.loads(line) for line in collector.lines]
    assert [(line, broken) for line in lines if (broken := list(breaches(line)))] == []
    assert {line["service.name"] for line in lines} >= {*BUSINESS, "edge"}
    assert not [line for line in lines if secret in str(line)]
    assert next(line for line in lines if line.get("http.request.id") == mine)["http.response.status_code"] == 404


def test_no_secret_is_in_a_log_or_on_a_command_line(platform: Platform, collector: Collector) -> None:
    known = platform.state.read("secrets.json")
    assert {name.split(".")[0] for name in known} >= {"rabbitmq", "postgresql", "gateway", "administrator"}
    logs = [path.read_text(errors="replace") for path in platform.state.logs.iterdir()]
    commands = [" ".join(psutil.Process(pid).cmdline()) for pid in platform.pids.values()]
    said = "\n".join((*logs, *commands, *collector.lines))
    assert "workers.users" in said
    assert [name for name, secret in known.items() if secret in said] == []
