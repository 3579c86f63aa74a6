"""What a broker login may do: what it configures, writes and reads by name, publishes and binds by routing key.

Promise: made from the names of broker/topology.py and from what each service has to do with others, so that up, compose
and Kubernetes give the same. Nobody writes to the default exchange or to another's queue; nobody but who starts the
platform makes or removes what is shared. What may be published (write) and bound to (read) by routing key: a service
answers, does, says and is present under its own name only; what failed comes home to its own queues only.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from broker import topology


@dataclass(frozen=True)
class Dealings:
    """What a service has to do with others: patterns of topics, with `*` for a word and `#` for any. What has its own
    name needs no mention."""

    hears: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()


WITH_EVERYBODY = Dealings(("#",), ("#",), ("#",))
PLATFORM = {
    "users": Dealings(
        hears=("orders.order-confirmed.v1", "orders.order-refunded.v1", "orders.order-shipped.v1"),
        asks=("orders.look-up-order.v1",),
    ),
    "catalog": Dealings(),
    "orders": Dealings(
        hears=(
            "catalog.reservation-expired.v1",
            "catalog.stock-refused.v1",
            "catalog.stock-reserved.v1",
            "payments.capture-failed.v1",
            "payments.payment-authorised.v1",
            "payments.payment-captured.v1",
            "payments.payment-declined.v1",
            "payments.payment-refunded.v1",
            "payments.payment-requires-action.v1",
            "payments.payment-voided.v1",
            "payments.refund-failed.v1",
            "users.user-erased.v1",
        ),
        commands=(
            "catalog.commit-stock.v1",
            "catalog.release-stock.v1",
            "catalog.reserve-stock.v1",
            "catalog.restock.v1",
            "payments.authorise-payment.v1",
            "payments.capture-payment.v1",
            "payments.refund-payment.v1",
            "payments.void-payment.v1",
        ),
        asks=("catalog.get-quote.v1", "catalog.price-items.v1", "payments.get-payment-action.v1"),
    ),
    "payments": Dealings(),
}
"""What the platform's own services hear, command and ask; their manifests must say the same."""


@dataclass(frozen=True)
class Rights:
    """Regular expressions over names, and over the routing keys of each topic exchange: (write, read)."""

    configure: str
    write: str
    read: str
    topics: Mapping[str, tuple[str, str]]


def rights_of(program: str) -> Rights:
    """The rights of the edge, of one of the platform's services, or of a plug-in that is trusted with everything."""
    if program == "edge":
        return _rights_of_the_edge()
    dealings = PLATFORM.get(program)
    # A release before this one may still have to say or hear another version.
    return rights_to(program, WITH_EVERYBODY if dealings is None else _in_any_version(dealings))


def rights_to(service: str, dealings: Dealings) -> Rights:
    """The rights of a service that has only this to do with others."""
    own = _own(service)
    its_keys = rf"{re.escape(service)}\..*"
    its_queues = rf"^[^.]+\.{its_keys}$"
    bound = (topology.REQUESTS, topology.REPLIES, topology.COMMANDS, topology.EVENTS, topology.PRESENCE)
    read = (*bound, topology.RETURNS, *([topology.EVENT_HISTORY] if "#" in dealings.hears else []))
    suspects = re.escape(topology.suspects_key(service))
    present = rf"^presence\.(hello|beat|bye)\.{re.escape(service)}$"
    told = rf"^presence\.(roll-call|refused\.{re.escape(service)})$"
    return Rights(
        configure=f"^({own})$",
        write=_names(own, *bound, topology.RETRIES, topology.RETURNS, topology.DEAD_LETTERS),
        read=_names(own, *read),
        topics={
            topology.REQUESTS: (f"^({_keys(dealings.asks)}{its_keys}|{suspects})$", f"^({its_keys}|{suspects})$"),
            topology.COMMANDS: (f"^({_keys(dealings.commands)}{its_keys})$", f"^{its_keys}$"),
            topology.EVENTS: (f"^{its_keys}$", f"^({_keys(dealings.hears)}{its_keys})$"),
            topology.PRESENCE: (present, told),
            topology.RETRIES: (its_queues, "^$"),
            topology.RETURNS: (its_queues, its_queues),
            topology.DEAD_LETTERS: (f"^{its_keys}$", "^$"),
        },
    )


def _rights_of_the_edge() -> Rights:
    """It asks everybody, opens its own exchange to their request queues, and alone says which manifests were accepted
    and what was refused."""
    own, queues = _own("edge"), r"[^.]+\.requests"
    spoken_to = (topology.REQUESTS, topology.FRONT_DOOR, topology.PRESENCE)
    heard = (topology.REPLIES, topology.EVENTS, topology.PRESENCE, topology.FRONT_DOOR, topology.MANIFESTS)
    return Rights(
        configure=f"^({own})$",
        write=_names(f"{own}|{queues}", *spoken_to),
        read=_names(own, *heard),
        topics={
            topology.REQUESTS: (".*", "^$"),
            topology.EVENTS: ("^$", ".*"),
            topology.PRESENCE: (r"^presence\.(roll-call|(accepted|refused)\..*)$", ".*"),
        },
    )


def _own(service: str) -> str:
    name = re.escape(service)
    return rf"{name}|{name}\..*|amq\.gen-.*"


def _names(own: str, *shared: str) -> str:
    return f"^({'|'.join([own, *map(re.escape, shared)])})$"


def _keys(patterns: Iterable[str]) -> str:
    """What leads to nothing but what these patterns match, as alternatives that others may follow: a binding is a
    pattern itself, so a `*` of ours covers no `#`."""
    special = {"*": r"[^.#]+", "#": r".*"}
    return "".join(
        r"\.".join(special.get(word, re.escape(word)) for word in pattern.split(".")) + "|" for pattern in patterns
    )


def _in_any_version(dealings: Dealings) -> Dealings:
    def versions(topics: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(f"{topic.rpartition('.')[0]}.*" for topic in topics)

    return Dealings(versions(dealings.hears), versions(dealings.commands), versions(dealings.asks))
