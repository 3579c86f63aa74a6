"""Who is there, and who may claim what.

Promise: pure bookkeeping, fed with presence messages and a clock. A service speaks only for itself (the broker vouches
for the login), declares operations only under its own name, and never gets a path that another service holds or that
its login does not reach; whatever is refused is listed in `refused`. The newest manifest counts, in whatever order they
come. A service that is away stays known.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from broker.logins import may_claim, prefixes_of, service_of
from broker.telemetry import REFUSED_CLAIMS, log
from contracts.presence import Beat, Bye, Hello, Manifest, Offer

LATE_AFTER = 2.5
"""Seconds without a beat until somebody should look whether the instance is still there."""
LOST_AFTER = 6.0
REFUSALS_KEPT = 200


@dataclass(slots=True)
class Instance:
    """One process of a service. `last_seen` is by the registry's own clock."""

    id: UUID
    version: str
    started_at: datetime
    last_seen: float
    load: int = 0
    consumed: tuple[int, ...] = ()


@dataclass(slots=True)
class ServiceRecord:
    """A service, its newest manifest and what of it was accepted."""

    name: str
    login: str
    manifest: Manifest
    offers: tuple[Offer, ...]
    newest: datetime
    instances: dict[UUID, Instance] = field(default_factory=dict)

    @property
    def is_away(self) -> bool:
        """Whether no instance is there to answer."""
        return not self.instances


@dataclass(frozen=True, slots=True)
class RefusedClaim:
    """Something that a manifest wanted and did not get."""

    service: str
    login: str
    claim: str
    reason: str
    at: datetime


class Registry:
    """The services that are known. `generation` changes whenever the accepted offers do."""

    def __init__(self, *, trusted_logins: frozenset[str]) -> None:
        self.services: dict[str, ServiceRecord] = {}
        self.refused: list[RefusedClaim] = []
        self.generation = 0
        self._trusted = trusted_logins

    def trusts(self, login: str | None) -> bool:
        """Whether this login may speak for everybody, as another edge may."""
        return login in self._trusted

    def offers(self) -> Iterator[tuple[ServiceRecord, Offer]]:
        """Every accepted operation with who answers it."""
        for record in self.services.values():
            for offer in record.offers:
                yield record, offer

    def accept(self, manifest: Manifest, *, login: str, newest: datetime) -> bool:
        """Take note of a manifest; false if its sender may not speak for the service. A manifest older than the one we
        have changes nothing."""
        name = manifest.service
        if not self._speaks_for(login, name):
            self._refuse(name, login, f"the service {name}", "the login belongs to another service")
            return False
        known = self.services.get(name)
        if known is not None and (manifest.digest, login) == (known.manifest.digest, known.login):
            known.newest = max(newest, known.newest)
        elif known is None or (newest, manifest.digest) > (known.newest, known.manifest.digest):
            instances = known.instances if known is not None else {}
            self.services[name] = ServiceRecord(name, login, manifest, (), newest, instances)
            self._hand_out(self.services[name])
        return True

    def hello(self, hello: Hello, *, login: str, now: float) -> bool:
        """An instance is there; false if it was refused."""
        if not self.accept(hello.manifest, login=login, newest=hello.started_at):
            return False
        known = self.services[hello.manifest.service].instances
        if hello.instance not in known:
            known[hello.instance] = Instance(hello.instance, hello.manifest.version, hello.started_at, now)
        known[hello.instance].last_seen = now
        return True

    def beat(self, beat: Beat, *, login: str, now: float) -> bool:
        """An instance is still there; false if we do not know it and should call the roll."""
        if not self._speaks_for(login, beat.service):
            return True
        record = self.services.get(beat.service)
        if record is None or beat.instance not in record.instances:
            return False
        instance = record.instances[beat.instance]
        instance.last_seen, instance.load, instance.consumed = now, beat.load, beat.consumed
        return True

    def bye(self, bye: Bye, *, login: str) -> None:
        """An instance left."""
        record = self.services.get(bye.service)
        if record is not None and self._speaks_for(login, bye.service):
            record.instances.pop(bye.instance, None)

    def late(self, *, now: float) -> list[str]:
        """The services of which an instance missed a beat."""
        return [
            record.name
            for record in self.services.values()
            if any(now - instance.last_seen > LATE_AFTER for instance in record.instances.values())
        ]

    def nobody_consumes(self, service: str, *, since: float = math.inf) -> None:
        """The broker says that nobody consumes the service's requests: those of its instances that have not been heard
        of `since` are gone."""
        self._forget(self.services[service], since)

    def forget_the_lost(self, *, now: float) -> None:
        """Drop the instances that have not been heard of for too long."""
        for record in self.services.values():
            self._forget(record, now - LOST_AFTER)

    @staticmethod
    def _forget(record: ServiceRecord, since: float) -> None:
        for instance in list(record.instances.values()):
            if instance.last_seen < since:
                del record.instances[instance.id]

    def _speaks_for(self, login: str, service: str) -> bool:
        return login in self._trusted or service_of(login) == service

    def _hand_out(self, newcomer: ServiceRecord) -> None:
        """Give the newcomer what it may have, then everybody else what was refused and has become free."""
        for record in (newcomer, *self.services.values()):
            record.offers = tuple(
                offer for offer in record.manifest.offers if offer in record.offers or self._may_have(record, offer)
            )
        self.generation += 1

    def _may_have(self, record: ServiceRecord, offer: Offer) -> bool:
        name, login = record.name, record.login
        if not offer.topic.startswith(f"{name}."):
            self._refuse(name, login, offer.topic, "the operation belongs to another service")
            return False
        if offer.http is None:
            return True
        reason = self._out_of_reach(login, offer.http.path) or self._taken(name, offer.http.path)
        if reason is not None:
            self._refuse(name, login, f"{offer.http.method} {offer.http.path}", reason)
        return reason is None

    def _out_of_reach(self, login: str, path: str) -> str | None:
        if login in self._trusted or may_claim(login, path):
            return None
        return f"the path is not granted by its login, which has {' and '.join(prefixes_of(login) or ['none'])}"

    def _taken(self, name: str, path: str) -> str | None:
        """Why the service may not have the path, if so."""
        if path.startswith("/{"):
            return "the path would take everybody's: its first segment must be a word"
        for record, offer in self.offers():
            if record.name != name and offer.http is not None and overlap(offer.http.path, path):
                return f"the path is held by {record.name}"
        return None

    def _refuse(self, service: str, login: str, claim: str, reason: str) -> None:
        if any((old.service, old.claim, old.login) == (service, claim, login) for old in self.refused):
            return
        log.warning("a claim was refused", claimant=service, login=login, claim=claim, reason=reason)
        REFUSED_CLAIMS.labels(reason.split(" by ")[0]).inc()
        self.refused = [*self.refused, RefusedClaim(service, login, claim, reason, datetime.now(UTC))][-REFUSALS_KEPT:]


def overlap(one: str, other: str) -> bool:
    """Whether some path fits both templates: `/products/{sku}` and `/products/new` overlap."""
    ours, theirs = one.strip("/").split("/"), other.strip("/").split("/")
    return len(ours) == len(theirs) and all(
        a == b or a.startswith("{") or b.startswith("{") for a, b in zip(ours, theirs, strict=True)
    )
