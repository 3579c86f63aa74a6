"""The AsyncAPI 3.0 document of every event and command.

Promise: what the platform's own contracts name is there, and what live manifests add to it; a service's own word on its
events counts, and nobody's word on another's. Operations say who sends what and who receives it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from broker import topology
from contracts.presence import Manifest, Saying
from edge_api.schemas import Components, Schema

Action = Literal["send", "receive"]
_TEXT: Schema = {"type": "string"}
_MOMENT: Schema = {"type": "string", "format": "date-time"}
_ALWAYS = {
    "cloudEvents_specversion": {"type": "string", "const": "1.0"},
    "cloudEvents_id": {"type": "string", "description": "The message's identity: deduplicate on it."},
    "cloudEvents_type": {"type": "string", "description": "The topic."},
    "cloudEvents_source": {"type": "string", "description": "`/<service>`"},
    "cloudEvents_subject": {"type": "string", "description": "The id of the aggregate."},
    "cloudEvents_time": _MOMENT,
}
_FLOW = {"correlation-id": _TEXT, "causation-id": _TEXT, "traceparent": _TEXT}
_ORDER = {
    "sequence": {"type": "integer", "minimum": 1, "description": "Gap-free within source and subject."},
    "predecessors": {"type": "string", "description": "JSON: the last sequence and its time, by topic."},
}
_HEADERS: dict[str, Schema] = {
    "command": {"type": "object", "required": [*_ALWAYS], "properties": {**_ALWAYS, **_FLOW}},
    "event": {"type": "object", "required": [*_ALWAYS, *_ORDER], "properties": {**_ALWAYS, **_ORDER, **_FLOW}},
}
_EXCHANGES = {"event": topology.EVENTS, "command": topology.COMMANDS}


def document(manifests: Iterable[Manifest], known: Iterable[Saying]) -> dict[str, Any]:
    """The document of what these services say and of what is known from elsewhere."""
    manifests = sorted(manifests, key=lambda manifest: manifest.service)
    sayings, components = _sayings(manifests, known), Components()
    channels = {topic: _channel(saying) for topic, saying in sayings.items()}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Hedgerow",
            "version": "1",
            "description": "Every event and command, over AMQP 0-9-1. Delivery is at least once; the events of one "
            "aggregate are numbered. docs/wire-protocol.md describes the wire.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": {
            f"{manifest.service}.{action}.{topic}": _operation(manifest.service, action, topic)
            for manifest in manifests
            for action, topics in _actions(manifest)
            for topic in topics
            if topic in channels
        },
        "components": {
            "messages": {topic: _message(saying, components) for topic, saying in sayings.items()},
            "schemas": {**components.schemas, **{f"headers.{kind}": headers for kind, headers in _HEADERS.items()}},
        },
    }


def _actions(manifest: Manifest) -> tuple[tuple[Action, Iterable[str]], ...]:
    return ("send", [saying.topic for saying in manifest.says]), ("receive", manifest.hears)


def _sayings(manifests: Iterable[Manifest], known: Iterable[Saying]) -> Mapping[str, Saying]:
    """By topic. Of a command the contracts know best; its receiver has no word, since `hears` holds only names."""
    found = {saying.topic: saying for saying in known}
    for manifest in manifests:
        for saying in manifest.says:
            own = saying.topic.startswith(f"{manifest.service}.")
            if own or (saying.kind == "command" and saying.topic not in found):
                found[saying.topic] = saying
    return dict(sorted(found.items()))


def _channel(saying: Saying) -> dict[str, Any]:
    exchange = {"name": _EXCHANGES[saying.kind], "type": "topic", "durable": True, "autoDelete": False}
    return {
        "address": saying.topic,
        "title": f"{saying.kind} {saying.topic}",
        "messages": {"message": {"$ref": f"#/components/messages/{saying.topic}"}},
        "tags": [{"name": saying.kind}],
        "bindings": {"amqp": {"is": "routingKey", "exchange": exchange, "bindingVersion": "0.3.0"}},
    }


def _operation(service: str, action: Action, topic: str) -> dict[str, Any]:
    return {
        "action": action,
        "title": f"{service} {action}s {topic}",
        "channel": {"$ref": f"#/channels/{topic}"},
        "messages": [{"$ref": f"#/channels/{topic}/messages/message"}],
        "tags": [{"name": service}],
    }


def _message(saying: Saying, components: Components) -> dict[str, Any]:
    schema = _without_openapi(saying.schema_)
    service = saying.topic.partition(".")[0]
    return {
        "name": saying.topic,
        "title": str(schema.get("title", saying.topic)),
        "summary": str(schema.get("description", "")).partition("\n")[0],
        "contentType": "application/json",
        "headers": {"$ref": f"#/components/schemas/headers.{saying.kind}"},
        "payload": components.add(schema, service=service, name=schema.get("title", saying.topic)),
        "correlationId": {"location": "$message.header#/correlation-id"},
    }


def _without_openapi(schema: Any) -> Any:
    """Without the discriminators that pydantic adds for OpenAPI: AsyncAPI writes them in another way."""
    if isinstance(schema, list):
        return [_without_openapi(element) for element in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _without_openapi(value)
        for key, value in schema.items()
        if not (key == "discriminator" and isinstance(value, dict) and "propertyName" in value)
    }
