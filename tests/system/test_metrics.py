"""What the running platform tells Prometheus."""

import re
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from infra.grafana.dashboards import expressions
from infra.launcher.prometheus import CONFIGURATION
from infra.launcher.services import BUSINESS
from tests.support.customer import Customer
from tests.support.eventually import eventually
from tests.support.platform import Platform

MEASURED = (*BUSINESS, "edge")
RULES = (CONFIGURATION / "rules.yml").read_text()


def page(platform: Platform, name: str) -> dict[str, set[str]]:
    """The names of all samples on a process' page, with the label values of each."""
    address = platform.state.read("runtime.json")["metrics"][name]
    text = httpx.get(address, timeout=10, trust_env=False).raise_for_status().text
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels.values())
    return found


async def test_every_metric_that_a_rule_or_a_panel_names_is_there(
    platform: Platform, customer: Customer, staff: Customer
) -> None:
    sku = await staff.add_product(on_hand=10)
    assert (await customer.settled(await customer.order(sku)))["status"] == "confirmed"
    pages = {name: page(platform, name) for name in MEASURED}
    told = {metric for found in pages.values() for metric in found}
    named = set(re.findall(r"\b(?:hedgerow|process)_\w+", RULES + str(expressions())))
    assert len(named) > 40
    assert named - told == set()
    values = {value for found in pages.values() for labels in found.values() for value in labels}
    assert not {value for value in values if sku in value or re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-", value)}
    assert {"confirmed"} <= pages["orders"]["hedgerow_order_seconds_count"]
    assert {"users", "orders"} <= pages["edge"]["hedgerow_presence_instances"]


async def test_prometheus_scrapes_every_process_and_knows_the_rules(platform: Platform) -> None:
    address = platform.state.read("runtime.json").get("prometheus")
    if address is None:
        pytest.skip("no Prometheus for this machine")
    async with httpx.AsyncClient(base_url=address, trust_env=False, verify=False) as prometheus:

        async def everybody_is_up() -> bool:
            up = await get(prometheus, "query", query='up{job="hedgerow"} == 1')
            return {series["metric"]["service"] for series in up["result"]} == set(MEASURED)

        await eventually(everybody_is_up, within=15)
        for expression in expressions():
            await get(prometheus, "query", query=expression)
        rules = [rule for group in (await get(prometheus, "rules"))["groups"] for rule in group["rules"]]
        assert {rule["name"] for rule in rules} == set(re.findall(r"alert: (\w+)", RULES))
        assert [rule["name"] for rule in rules if rule["health"] == "err"] == []


async def get(prometheus: httpx.AsyncClient, path: str, **parameters: str) -> Any:
    """What its API answers."""
    answer = (await prometheus.get(f"/api/v1/{path}", params=parameters)).raise_for_status().json()
    assert answer["status"] == "success"
    return answer["data"]
