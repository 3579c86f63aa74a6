"""Every exchange and queue of the platform, by name.

Promise: nothing else in the code spells the name of an exchange or a queue; every queue names its type; declaring
twice is harmless. Exchanges that services write to are topic exchanges (RabbitMQ's topic permissions know no other
type), except `replies`; `front-door` is the edge's alone; the default exchange is never published to.
"""

from collections.abc import Iterable
from typing import Any

from pamqp.base import Frame
from pamqp.commands import Exchange, Queue

from contracts.presence import Beat, Bye, Hello, Manifest

REQUESTS = "requests"
FRONT_DOOR = "front-door"
REPLIES = "replies"
COMMANDS = "commands"
EVENTS = "events"
PRESENCE = "presence"
RETRIES = "retries"
RETURNS = "returns"
DEAD_LETTERS = "dead-letters"

EVENT_HISTORY = "events.history"
MANIFESTS = "presence.manifests"

TIERS = {"1s": 1, "10s": 10, "1m": 60, "10m": 600}
"""How long a message waits before it is tried again, in seconds, by tier: the first failure waits in the first tier."""

_EXCHANGES = {REQUESTS, COMMANDS, EVENTS, PRESENCE, RETRIES, RETURNS, DEAD_LETTERS}

SHARED = frozenset({*_EXCHANGES, REPLIES, FRONT_DOOR, *map("retries.{}".format, TIERS), EVENT_HISTORY, MANIFESTS})
"""What all services share, by name."""

# At-least-once dead-lettering silently isn't unless the overflow rejects.
_CERTAIN_DEAD_LETTERING = {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}


def requests_queue(service: str) -> str:
    """Where a service's requests wait; all its instances consume it."""
    return f"{service}.requests"


def suspects_queue(service: str) -> str:
    """Where requests wait that may have killed a worker; they are tried one at a time."""
    return f"{service}.suspects"


def suspects_key(service: str) -> str:
    """The routing key, on `requests`, that leads to the suspects."""
    return f"suspects.{service}"


def reply_queue(owner: str, token: str) -> str:
    """Where one connection's answers arrive. The name is fresh at each connection: a fixed one races on reconnect."""
    return f"{owner}.replies.{token}"


def presence_queue(owner: str, token: str) -> str:
    """Where one process hears of presence."""
    return f"{owner}.presence.{token}"


def tidings_queue(owner: str, token: str) -> str:
    """Where one process hears of events as long as it is connected."""
    return f"{owner}.tidings.{token}"


def work_queue(service: str, topic: str) -> str:
    """Where a service's share of a topic's events or commands waits."""
    return topic if topic.startswith(f"{service}.") else f"{service}.{topic}"


def published(manifest: Manifest) -> list[tuple[str, str]]:
    """To which exchanges an instance of a service is going to publish, and with which routing keys."""
    service = manifest.service
    queues = [work_queue(service, topic) for topic in manifest.hears]
    failed = [(RETRIES, way_home(tier, queue)) for queue in queues for tier in TIERS]
    return [
        *((PRESENCE, f"{kind.topic}.{service}") for kind in (Hello, Beat, Bye)),
        *((EVENTS if said.kind == "event" else COMMANDS, said.topic) for said in manifest.says),
        *((RETURNS, way_home("parked", queue)) for queue in queues),
        *((DEAD_LETTERS, queue) for queue in queues),
        *failed,
        *([(REQUESTS, suspects_key(service)), (REPLIES, "")] if manifest.offers else []),
    ]


def tier_queue(tier: str) -> str:
    """Where messages wait before they are tried again."""
    return f"retries.{tier}"


def way_home(reason: str, queue: str) -> str:
    """The routing key, on `returns`, that leads back to a queue: from a retry tier, a probe or a parking place."""
    return f"{reason}.{queue}"


def consumed_queues(manifest: Manifest) -> list[str]:
    """What an instance of a service consumes, in the order in which its beats speak of it."""
    requested = [requests_queue(manifest.service)] if any(not offer.parts for offer in manifest.offers) else []
    return [*requested, *(work_queue(manifest.service, topic) for topic in manifest.hears)]


def shared() -> list[Frame]:
    """What declares all exchanges, the retry tiers, the dead letters and the two streams."""
    fallback: dict[str, Any] = {"alternate-exchange": REQUESTS}
    declared: list[Frame] = [
        *(Exchange.Declare(exchange=name, exchange_type="topic", durable=True) for name in sorted(_EXCHANGES)),
        Exchange.Declare(exchange=REPLIES, exchange_type="direct", durable=True),
        Exchange.Declare(exchange=FRONT_DOOR, exchange_type="direct", durable=True, arguments=fallback),
    ]
    for tier, seconds in TIERS.items():
        arguments = {"x-message-ttl": int(seconds * 1000), "x-dead-letter-exchange": RETURNS, **_CERTAIN_DEAD_LETTERING}
        declared += _queue(tier_queue(tier), "quorum", RETRIES, [f"{tier}.#"], arguments)
    declared += _queue(DEAD_LETTERS, "quorum", DEAD_LETTERS, ["#"])
    declared += _queue(EVENT_HISTORY, "stream", EVENTS, ["#"], {"x-max-length-bytes": 2_000_000_000})
    declared += _queue(MANIFESTS, "stream", PRESENCE, ["presence.accepted.#"], {"x-max-length-bytes": 64_000_000})
    return declared


def look_for_shared() -> list[Frame]:
    """What finds out whether all that is there, without the streams: one that is damaged must not keep anybody away."""
    exchanges = sorted({*_EXCHANGES, REPLIES, FRONT_DOOR})
    queues = [*map(tier_queue, TIERS), DEAD_LETTERS]
    return [
        *(Exchange.Declare(exchange=name, passive=True) for name in exchanges),
        *(Queue.Declare(queue=name, passive=True) for name in queues),
    ]


def through_front_door(service: str, topics: Iterable[str]) -> list[Frame]:
    """What leads from the front door to a service's request queue."""
    queue = requests_queue(service)
    return [Queue.Bind(queue=queue, exchange=FRONT_DOOR, routing_key=topic) for topic in topics]


def requests(service: str, topics: Iterable[str]) -> list[Frame]:
    """What declares a service's request queue and its suspects, bound to the operations that it answers."""
    name = requests_queue(service)
    return [
        *_queue(name, "classic", REQUESTS, topics),
        Queue.Bind(queue=name, exchange=RETURNS, routing_key=way_home("*", name)),
        *_queue(suspects_queue(service), "classic", REQUESTS, [suspects_key(service)]),
    ]


def replies(name: str) -> Frame:
    """What declares one connection's reply queue."""
    return _of_one_process(name)


def replies_to(name: str, key: str) -> Frame:
    """What leads answers with this key to a reply queue."""
    return Queue.Bind(queue=name, exchange=REPLIES, routing_key=key)


def presence(name: str, *keys: str) -> list[Frame]:
    """What declares the queue of one process that hears of presence; it goes with the connection."""
    return _heard(name, PRESENCE, keys)


def tidings(name: str, *keys: str) -> list[Frame]:
    """What declares the queue of one process that hears events of these topics (and of others, said before) as long as
    it is connected."""
    return _heard(name, EVENTS, keys)


def work(service: str, topic: str, *, exchange: str) -> list[Frame]:
    """What declares the queue for a topic of `events` or `commands`, with its way home from the retries."""
    name = work_queue(service, topic)
    arguments = {
        "x-dead-letter-exchange": DEAD_LETTERS,
        "x-dead-letter-routing-key": name,
        **_CERTAIN_DEAD_LETTERING,
    }
    home = Queue.Bind(queue=name, exchange=RETURNS, routing_key=way_home("*", name))
    return [*_queue(name, "quorum", exchange, [topic], arguments), home]


def _of_one_process(name: str) -> Frame:
    return Queue.Declare(queue=name, exclusive=True, arguments={"x-queue-type": "classic"})


def _heard(name: str, exchange: str, keys: Iterable[str]) -> list[Frame]:
    return [_of_one_process(name), *(Queue.Bind(queue=name, exchange=exchange, routing_key=key) for key in keys)]


def _queue(
    name: str, kind: str, exchange: str, keys: Iterable[str], arguments: dict[str, Any] | None = None
) -> list[Frame]:
    declared = Queue.Declare(queue=name, durable=True, arguments={"x-queue-type": kind, **(arguments or {})})
    return [declared, *(Queue.Bind(queue=name, exchange=exchange, routing_key=key) for key in keys)]
