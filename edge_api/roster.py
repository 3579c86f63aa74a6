"""Who is there, as a page for staff: services, instances, operations, and the claims that were refused."""

import time
from typing import Literal
from uuid import UUID

from broker.registry import LATE_AFTER, Instance, Registry, ServiceRecord
from broker.topology import consumed_queues
from contracts.base import Message, Moment
from contracts.presence import Manifest, Offer, Who
from edge_api.routing import Routes


class InstanceSeen(Message):
    """One process of a service. `load` is how many messages it works on; the proofs that it consumes are by queue."""

    id: UUID
    version: str
    state: Literal["present", "late"]
    load: int
    started_at: Moment
    seconds_since_seen: float
    seconds_since_consumed: dict[str, int]


class OperationSeen(Message):
    """Something that a service answers, and by which route if by any."""

    topic: str
    kind: Literal["query", "write"]
    route: str | None
    who: Who | None
    roles: tuple[str, ...] = ()


class ServiceSeen(Message):
    """A service, by its newest manifest."""

    name: str
    state: Literal["present", "away"]
    login: str
    version: str
    versions: tuple[str, ...]
    instances: tuple[InstanceSeen, ...]
    operations: tuple[OperationSeen, ...]
    hears: tuple[str, ...]
    says: tuple[str, ...]


class ClaimRefused(Message):
    """Something that a manifest wanted and did not get."""

    service: str
    claim: str
    reason: str
    login: str | None = None
    at: Moment | None = None


class Roster(Message):
    """The services that are known, and what was refused to them."""

    services: tuple[ServiceSeen, ...]
    refused: tuple[ClaimRefused, ...]


def page(routes: Routes) -> Roster:
    """The registry as it is now."""
    registry = routes.registry
    now = time.monotonic()
    return Roster(
        services=tuple(_service(registry.services[name], now) for name in sorted(registry.services)),
        refused=(*_refused(registry), *_not_served(routes)),
    )


def _service(record: ServiceRecord, now: float) -> ServiceSeen:
    return ServiceSeen(
        name=record.name,
        state="away" if record.is_away else "present",
        login=record.login,
        version=record.manifest.version,
        versions=tuple(sorted({instance.version for instance in record.instances.values()})),
        instances=tuple(_instance(instance, record.manifest, now) for instance in record.instances.values()),
        operations=tuple(map(_operation, record.offers)),
        hears=record.manifest.hears,
        says=tuple(saying.topic for saying in record.manifest.says),
    )


def _instance(instance: Instance, manifest: Manifest, now: float) -> InstanceSeen:
    silent = now - instance.last_seen
    return InstanceSeen(
        id=instance.id,
        version=instance.version,
        state="late" if silent > LATE_AFTER else "present",
        load=instance.load,
        started_at=instance.started_at,
        seconds_since_seen=round(silent, 1),
        seconds_since_consumed=dict(zip(consumed_queues(manifest), instance.consumed, strict=False)),
    )


def _operation(offer: Offer) -> OperationSeen:
    route = offer.http
    return OperationSeen(
        topic=offer.topic,
        kind=offer.kind,
        route=f"{route.method} {route.path}" if route else None,
        who=route.who if route else None,
        roles=route.roles if route else (),
    )


def _refused(registry: Registry) -> list[ClaimRefused]:
    return [
        ClaimRefused(service=claim.service, claim=claim.claim, reason=claim.reason, login=claim.login, at=claim.at)
        for claim in registry.refused
    ]


def _not_served(routes: Routes) -> list[ClaimRefused]:
    return [ClaimRefused(service=name, claim=claim, reason=reason) for name, claim, reason in routes.table.refused]
