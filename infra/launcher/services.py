"""What the platform consists of: which program runs which module, and what each is told through its environment."""

import errno
import os
import socket
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from edge_api.certificate import Certificate
from edge_api.listening import listen
from edge_api.settings import BadSettingError
from infra.launcher.failure import Failure
from infra.launcher.master_key import master_key
from infra.launcher.payment_gateway import stripe_settings
from infra.launcher.program import Program
from infra.launcher.provision import Servers, provision_login, provision_service
from infra.launcher.signing import signing_key
from infra.launcher.state import REPOSITORY, State, why_not

BUSINESS = ("users", "catalog", "orders", "payments")
KEEPS_PEOPLE = ("users", "orders")
"""The services that keep personal data."""
NAMES = ("gateway", *BUSINESS, "edge")
EDGE_SETTINGS = (
    "HEDGEROW_LIMITS",
    "HEDGEROW_REDIS_URL",
    "HEDGEROW_TRUSTED_PROXIES",
    "HEDGEROW_AT_ONCE",
    "HEDGEROW_CACHE_BYTES",
    "HEDGEROW_CORS_ORIGINS",
    "HEDGEROW_HOST",
)
"""What the operator says to the launcher and means for the edge."""
GRACE = 25.0
"""Seconds; an edge finishes what runs within 20, a service within 20."""
ADMINISTRATOR = "admin@hedgerow.example"


@dataclass(frozen=True)
class Addresses:
    """Where the platform answers on this machine. `certificate` is the file with what the edge shows, where it speaks
    HTTPS."""

    edge: str
    gateway: str
    certificate: str | None = None


def edge_port() -> int:
    """HEDGEROW_PORT, else 8080. Raises `Failure` when it is no port, taken, or not for us."""
    given = os.environ.get("HEDGEROW_PORT") or "8080"
    if not given.isdigit() or not 0 < int(given) < 65536:
        raise Failure(f"HEDGEROW_PORT is {given!r}, which is no port number.")
    error = why_not(int(given))
    if error and error.errno == errno.EACCES:
        raise Failure(f"Port {given} is for the administrator only; choose one above 1023 with HEDGEROW_PORT.")
    if error:
        raise Failure(f"Port {given} is taken by another program; choose a free one with HEDGEROW_PORT.")
    return int(given)


def edge_listener(port: int) -> socket.socket:
    """What every edge of this platform accepts from. Raises `Failure`."""
    try:
        return listen(os.environ.get("HEDGEROW_HOST") or "127.0.0.1", port)
    except BadSettingError as error:
        raise Failure(str(error)) from None


def gateway(state: State, addresses: Addresses) -> Program:
    """The sandbox gateway; it needs neither broker nor database."""
    environment = {
        "HEDGEROW_GATEWAY_PORT": str(urlsplit(addresses.gateway).port),
        "HEDGEROW_GATEWAY_LEDGER": str(state.folder / "gateway.sqlite"),
        "HEDGEROW_GATEWAY_KEY": state.secret("gateway.key"),
        "HEDGEROW_GATEWAY_WEBHOOK_URL": f"{addresses.edge}/gateway-webhooks/sandbox",
        "HEDGEROW_GATEWAY_WEBHOOK_SECRET": state.secret("gateway.webhooks"),
        "HEDGEROW_GATEWAY_WEBHOOK_CERTIFICATE": addresses.certificate or "",
    }
    return _module(state, "gateway", "infra.sandbox_gateway", environment)


def worker(state: State, servers: Servers, addresses: Addresses, service: str) -> Program:
    """A business service, with accounts of its own."""
    accounts = provision_service(state, servers, service)
    environment = {"HEDGEROW_AMQP_URL": accounts.amqp_url, "HEDGEROW_DATABASE_URL": accounts.database_url}
    if service in KEEPS_PEOPLE:
        environment["HEDGEROW_MASTER_KEY_FILE"] = str(master_key(state))
    if service == "users":
        environment["HEDGEROW_SIGNING_KEY_FILE"] = str(signing_key(state))
        environment["HEDGEROW_ADMIN_FILE"] = str(administrator(state))
        environment["HEDGEROW_MAIL_FOLDER"] = str(state.folder / "mail")
    if service == "payments":
        environment |= stripe_settings() or {
            "HEDGEROW_GATEWAY_URL": addresses.gateway,
            "HEDGEROW_GATEWAY_KEY": state.secret("gateway.key"),
            "HEDGEROW_GATEWAY_WEBHOOK_SECRET": state.secret("gateway.webhooks"),
        }
    return _module(state, service, f"workers.{service}", environment)


def edge(
    state: State,
    servers: Servers,
    port: int,
    redis: str | None = None,
    *,
    certificate: Certificate | None = None,
    listener: socket.socket | None = None,
) -> Program:
    """The door; it has a broker login and no database. On a `listener` it takes turns with other edges."""
    environment = {name: os.environ[name] for name in EDGE_SETTINGS if name in os.environ}
    environment |= {"HEDGEROW_AMQP_URL": provision_login(state, servers, "edge"), "HEDGEROW_PORT": str(port)}
    if redis is not None:
        environment["HEDGEROW_REDIS_URL"] = redis
    if certificate is not None:
        environment["HEDGEROW_TLS_CERTIFICATE"] = str(certificate.chain)
        environment["HEDGEROW_TLS_KEY"] = str(certificate.key)
    # A service that was started with the platform's own login may speak under any name.
    environment["HEDGEROW_TRUSTED_LOGINS"] = unquote(urlsplit(servers.amqp).username or "guest")
    if servers.rabbitmq_management:
        # Services have logins of their own: only this one may hand out the keys that tokens are checked with.
        environment["HEDGEROW_KEYS_LOGIN"] = "users"
    program = _module(state, "edge", "edge_api", environment)
    if listener is None:
        return program
    told = {**program.environment, "HEDGEROW_LISTEN_FD": str(listener.fileno())}
    return replace(program, environment=told, sockets=(listener.fileno(),))


def with_metrics(program: Program, port: int) -> Program:
    """The same program, with its page of metrics on this port."""
    return replace(program, environment={**program.environment, "HEDGEROW_METRICS_PORT": str(port)})


def administrator(state: State) -> Path:
    """The first staff user's email and password (JSON, mode 0600); made once."""
    if not state.read("admin.json"):
        state.write("admin.json", {"email": ADMINISTRATOR, "password": state.secret("administrator")})
    return state.folder / "admin.json"


def _module(state: State, name: str, module: str, environment: dict[str, str]) -> Program:
    return Program(
        name=name,
        command=(sys.executable, "-m", module),
        environment={"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"} | environment,
        log=state.logs / f"{name}.log",
        state=state.folder,
        is_worker=True,
        grace=GRACE,
    )
