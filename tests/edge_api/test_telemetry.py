"""One log line and one count a request."""

import json
from datetime import UTC, datetime

import pytest
from prometheus_client import REGISTRY
from prometheus_client.samples import Sample

from broker.logs import ECS_VERSION
from tests.edge_api.world import World
from tests.support.eventually import eventually

Captured = pytest.CaptureFixture[str]


async def test_a_request_leaves_one_line_without_anything_that_the_client_wrote(world: World, capsys: Captured) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"x-request-id": "mine", "traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    response = await world.client.get("/things/anna@example.org", headers=headers)
    (line,) = world.lines(capsys)
    assert line.pop("event.duration") >= 0
    assert abs(datetime.fromisoformat(line.pop("@timestamp")) - datetime.now(UTC)).total_seconds() < 5
    assert line == {
        "ecs.version": ECS_VERSION,
        "service.name": "edge",
        "log.level": "info",
        "message": "request",
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.request.id": response.headers["x-request-id"],
        "trace.id": trace,
        "labels.route": "/things/{id}",
        "labels.answered_by": "shop",
    }


@pytest.mark.parametrize(
    ("method", "url", "line"),
    [
        ("GET", "/healthz", ("/healthz", 200, None)),
        ("GET", "/nothing", ("-", 404, None)),
        ("POST", "/mine", ("-", 405, None)),
        ("GET", "/mine", ("/mine", 401, "shop")),
    ],
)
async def test_every_end_of_a_request_leaves_one_line(
    world: World, capsys: Captured, method: str, url: str, line: tuple[str, int, str | None]
) -> None:
    await world.client.request(method, url)
    (logged,) = world.lines(capsys)
    assert (logged["labels.route"], logged["http.response.status_code"], logged.get("labels.answered_by")) == line


async def test_lines_are_written_soon_and_in_order(world: World, capsys: Captured) -> None:
    for url in ("/things/7", "/things", "/healthz"):
        await world.client.get(url)
    routes: list[str] = []

    async def are_written() -> bool:
        routes.extend(json.loads(line)["labels.route"] for line in capsys.readouterr().out.splitlines())
        return routes == ["/things/{id}", "/things", "/healthz"]

    await eventually(are_written, within=2)


async def test_the_last_lines_are_written_when_the_edge_ends(world: World, capsys: Captured) -> None:
    async with world.app.alive():
        await world.client.get("/things/7")
    assert capsys.readouterr().out.count("\n") == 1


async def test_requests_are_counted_by_template(world: World) -> None:
    labels = {"route": "/things/{id}", "method": "GET", "status": "2xx"}
    before = REGISTRY.get_sample_value("hedgerow_http_requests_total", labels) or 0
    await world.client.get("/things/1")
    await world.client.get("/things/2")
    assert REGISTRY.get_sample_value("hedgerow_http_requests_total", labels) == before + 2


async def test_methods_that_nobody_knows_share_a_label(world: World) -> None:
    response = await world.client.request("BREW", "/things/7")
    assert (response.status_code, response.headers["allow"]) == (405, "DELETE, GET, HEAD, OPTIONS")
    labels = {"route": "-", "method": "other", "status": "4xx"}
    assert REGISTRY.get_sample_value("hedgerow_http_requests_total", labels)


async def test_nothing_that_a_client_writes_makes_a_label(world: World) -> None:
    evil, before = "evil-label", _http_samples()
    headers = {"x-request-id": evil, "traceparent": evil, "user-agent": evil}
    for method in ("GET", "POST", "OPTIONS", evil.upper()):
        for path in (evil, f"things/{evil}", f"things?q={evil}", f"problems/{evil}", f"things/%ff{evil}", "/"):
            await world.client.request(method, f"/{path}", headers=headers)
    after = _http_samples()
    assert sum(sample.value for sample in after) - sum(sample.value for sample in before) == 24
    assert not [sample for sample in after if evil in str(sample.labels).lower()]


def _http_samples() -> list[Sample]:
    """How many requests of each kind were counted."""
    (requests,) = (family for family in REGISTRY.collect() if family.name == "hedgerow_http_requests")
    return requests.samples
