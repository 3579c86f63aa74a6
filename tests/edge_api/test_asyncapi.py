"""The document of every event and command."""

import json
import subprocess
from pathlib import Path
from typing import Any, Literal

import pytest

from contracts.presence import Manifest, Saying
from contracts.published import sayings
from edge_api import asyncapi
from infra.launcher.failure import Failure
from tests.edge_api.shop import shop
from tests.edge_api.world import World
from tests.support import node
from tests.support.servers import FOLDER, skip_or_fail

THING = {"title": "Thing", "type": "object", "properties": {"name": {"type": "string"}}}


def said(topic: str, kind: Literal["event", "command"] = "event", schema: Any = THING) -> Saying:
    return Saying(topic=topic, kind=kind, schema_=schema)


def of_the_shop() -> dict[str, Any]:
    manifests = [record.manifest for record in shop().registry.services.values()]
    return asyncapi.document(manifests, sayings())


def payload(document: Any, topic: str) -> Any:
    reference = document["components"]["messages"][topic]["payload"]["$ref"]
    return document["components"]["schemas"][reference.rsplit("/", 1)[-1]]


def test_every_event_and_command_is_there() -> None:
    document = of_the_shop()
    assert document["channels"].keys() == {saying.topic for saying in sayings()}
    placed, reserve = (document["channels"][topic] for topic in ("orders.order-placed.v1", "catalog.reserve-stock.v1"))
    assert placed["bindings"]["amqp"]["exchange"]["name"] == "events"
    assert reserve["bindings"]["amqp"]["exchange"]["name"] == "commands"
    assert payload(document, "orders.order-placed.v1")["required"][0] == "order_id"


def test_it_says_who_sends_and_who_receives() -> None:
    operations = of_the_shop()["operations"]
    about = {
        name.partition(".")[0]: of["action"] for name, of in operations.items() if name.endswith("reserve-stock.v1")
    }
    assert about == {"orders": "send", "catalog": "receive"}


def test_events_are_numbered_and_commands_are_not() -> None:
    document = of_the_shop()
    headers = {kind: document["components"]["schemas"][f"headers.{kind}"]["required"] for kind in ("event", "command")}
    assert "sequence" in headers["event"]
    assert "sequence" not in headers["command"]
    assert document["components"]["messages"]["catalog.reserve-stock.v1"]["headers"] == {
        "$ref": "#/components/schemas/headers.command"
    }


def test_a_service_has_the_word_on_its_own_events_and_nobody_on_another_s() -> None:
    newer, forged = ({"title": title, "type": "object"} for title in ("Newer", "Forged"))
    owner = Manifest(service="plug", version="2", says=(said("plug.sold.v1", schema=newer),))
    rogue = Manifest(service="rogue", version="1", says=(said("plug.sold.v1", schema=forged), said("plug.odd.v1")))
    document = asyncapi.document([rogue, owner], [said("plug.sold.v1")])
    assert payload(document, "plug.sold.v1")["title"] == "Newer"
    assert document["channels"].keys() == {"plug.sold.v1"}


def test_a_command_that_the_contracts_do_not_know_is_described_by_its_sender() -> None:
    sender = Manifest(
        service="plug", version="1", says=(said("store.pack.v1", "command"), said("store.send.v1", "command"))
    )
    other = {"title": "Send", "type": "object"}
    document = asyncapi.document([sender], [said("store.send.v1", "command", other)])
    assert payload(document, "store.pack.v1")["title"] == "Thing"
    assert payload(document, "store.send.v1")["title"] == "Send"


async def test_the_document_follows_the_services(world: World) -> None:
    assert "plug.sold.v1" not in (await world.client.get("/asyncapi.json")).json()["channels"]
    world.present("plug", says=(said("plug.sold.v1"),))
    assert "plug.sold.v1" in (await world.client.get("/asyncapi.json")).json()["channels"]


@pytest.mark.servers
def test_the_official_parser_accepts_it_and_would_not_accept_anything() -> None:
    """One process, because it takes two seconds to start."""
    union = {"oneOf": [THING], "discriminator": {"propertyName": "kind", "mapping": {"thing": "#/$defs/Thing"}}}
    plugged = asyncapi.document([Manifest(service="plug", version="1", says=(said("plug.sold.v1", schema=union),))], [])
    broken = of_the_shop()
    del broken["channels"]["orders.order-placed.v1"]
    accepted, with_union, refused = parsed(of_the_shop(), plugged, broken)
    assert accepted == {"problems": [], "messages": sorted(saying.topic for saying in sayings())}
    assert with_union == {"problems": [], "messages": ["plug.sold.v1"]}
    assert refused["problems"]


def parsed(*documents: dict[str, Any]) -> list[dict[str, Any]]:
    """What the parser of the AsyncAPI initiative says of these documents."""
    place = FOLDER / "asyncapi"
    try:
        node.install(Path(__file__).parent / "asyncapi", place)
    except Failure as failure:
        skip_or_fail(failure)
    lines = "".join(f"{json.dumps(document)}\n" for document in documents)
    command = [node.program(), str(place / "parse.mjs")]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
