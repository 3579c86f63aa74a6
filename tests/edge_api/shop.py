"""The platform's own services, as an edge knows them that has heard of nobody else."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache

from broker.registry import Registry
from contracts.presence import Manifest
from edge_api.platform_paths import template_of
from edge_api.routing import Routes
from workers.catalog.handlers import service as catalog
from workers.orders.handlers import service as orders
from workers.payments.handlers import service as payments
from workers.users.handlers import service as users


@cache
def manifests() -> Sequence[Manifest]:
    """What they present themselves with."""
    return [service.manifest() for service in (users, catalog, orders, payments)]


@cache
def shop() -> Routes:
    """Their routes."""
    registry = Registry(trusted_logins=frozenset())
    for manifest in manifests():
        assert registry.accept(manifest, login=manifest.service, newest=datetime.now(UTC))
    return Routes(registry, is_reserved=lambda path: template_of(path) is not None)
