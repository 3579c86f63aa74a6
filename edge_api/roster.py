"""Who is there, as a page for staff: services, instances, operations, and the claims that were refused."""

import time
from datetime import UTC, datetime
from typing import Any

from broker.registry import LATE_AFTER, Instance, Registry, ServiceRecord
from broker.topology import consumed_queues
from contracts.presence import Manifest, Offer
from edge_api.routing import Routes


def page(routes: Routes) -> dict[str, Any]:
    """The registry as it is now."""
    registry = routes.registry
    now = time.monotonic()
    return {
        "services": [_service(registry.services[name], now) for name in sorted(registry.services)],
        "refused": [*_refused(registry), *_not_served(routes)],
    }


def _service(record: ServiceRecord, now: float) -> dict[str, Any]:
    return {
        "name": record.name,
        "state": "away" if record.is_away else "present",
        "login": record.login,
        "version": record.manifest.version,
        "versions": sorted({instance.version for instance in record.instances.values()}),
        "instances": [_instance(instance, record.manifest, now) for instance in record.instances.values()],
        "operations": [_operation(offer) for offer in record.offers],
        "hears": list(record.manifest.hears),
        "says": [saying.topic for saying in record.manifest.says],
    }


def _instance(instance: Instance, manifest: Manifest, now: float) -> dict[str, Any]:
    silent = now - instance.last_seen
    return {
        "id": str(instance.id),
        "version": instance.version,
        "state": "late" if silent > LATE_AFTER else "present",
        "load": instance.load,
        "started_at": _moment(instance.started_at),
        "seconds_since_seen": round(silent, 1),
        "seconds_since_consumed": dict(zip(consumed_queues(manifest), instance.consumed, strict=False)),
    }


def _operation(offer: Offer) -> dict[str, Any]:
    route = f"{offer.http.method} {offer.http.path}" if offer.http else None
    who, roles = (offer.http.who, offer.http.roles) if offer.http else (None, ())
    return {"topic": offer.topic, "kind": offer.kind, "route": route, "who": who, "roles": roles}


def _refused(registry: Registry) -> list[dict[str, Any]]:
    return [
        {
            "service": claim.service,
            "login": claim.login,
            "claim": claim.claim,
            "reason": claim.reason,
            "at": _moment(claim.at),
        }
        for claim in registry.refused
    ]


def _not_served(routes: Routes) -> list[dict[str, Any]]:
    return [{"service": name, "claim": claim, "reason": reason} for name, claim, reason in routes.table.refused]


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
