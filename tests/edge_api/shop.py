"""The platform's own services, as an edge knows them that has heard of nobody else."""

from datetime import UTC, datetime

from broker.registry import Registry
from edge_api.platform_paths import template_of
from edge_api.routing import Routes
from workers.catalog.handlers import service as catalog
from workers.orders.handlers import service as orders
from workers.payments.handlers import service as payments
from workers.users.handlers import service as users

SERVICES = (users, catalog, orders, payments)


def shop() -> Routes:
    """Their routes."""
    registry = Registry(trusted_logins=frozenset())
    for service in SERVICES:
        assert registry.accept(service.manifest(), login=service.name, newest=datetime.now(UTC))
    return Routes(registry, is_reserved=lambda path: template_of(path) is not None)
