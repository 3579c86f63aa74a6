"""Which names a plug-in may have."""

import re

from broker import topology
from infra.launcher.failure import Failure
from infra.launcher.provision import Servers, login_of
from infra.launcher.services import BUSINESS

# Queues, roles and schemas are named after services: nobody gets the name of the servers' own, or of what is shared.
_SHARED = {name.partition(".")[0] for name in (*topology.SHARED, topology.suspects_key(""))}
_RESERVED = {*BUSINESS, *_SHARED, "edge", "gateway", "hedgerow", "amq", "guest", "postgres", "public", "none"}
_OF_POSTGRESQL = re.compile(r"pg-.*|information-schema")


def check_name(name: str, servers: Servers) -> None:
    """Raises `Failure` for what can't be a plug-in's name on these servers."""
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,40}", name):
        raise Failure(f"{name!r} can't be a service's name: use small letters, digits and hyphens (at most 41).")
    administrators = {login_of(servers.amqp)[0], login_of(servers.database)[0]}
    if name in _RESERVED or name in administrators or _OF_POSTGRESQL.fullmatch(name):
        raise Failure(f"{name} is a name of the platform's own; choose another.")
