"""One broker for all tests of this folder, to be hurt; it speaks TLS as well."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

import pytest

from infra.launcher.management import Management
from infra.launcher.state import State
from tests.broker.lane.carriers import Lane
from tests.support.certificates import Authority
from tests.support.rabbitmq import OwnRabbitMq, own_rabbitmq

_TLS = """
listeners.ssl.1 = 127.0.0.1:{port}
ssl_options.cacertfile = {authority}
ssl_options.certfile = {certificate}
ssl_options.keyfile = {key}
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = false
ssl_cert_login_from = common_name
auth_mechanisms.1 = PLAIN
auth_mechanisms.2 = AMQPLAIN
auth_mechanisms.3 = EXTERNAL
"""


@dataclass
class Secured:
    """The broker's TLS side, and whoever certifies there."""

    node: OwnRabbitMq
    authority: Authority
    port: int

    def url(self, login: str | None = None, *, host: str = "127.0.0.1", **options: object) -> str:
        """The `amqps` address, for a login without a password, else for the one that may use everything."""
        user = login or urlsplit(self.node.amqp).netloc.rpartition("@")[0]
        return f"amqps://{user}@{host}:{self.port}/%2F?{urlencode({'cafile': self.authority.certificate, **options})}"

    def certified(self, login: str) -> str:
        """The `amqps` address for a login whose certificate is all it needs."""
        with Management(self.node.management) as management:
            management.make_login(login, "unused")
            management.permit(login, "/", configure=".*", write=".*", read=".*")
        certificate, key = self.authority.certify(login)
        return self.url(login, auth="external", certfile=certificate, keyfile=key)


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A broker that nobody else uses, with a certificate."""
    folder = tmp_path_factory.mktemp("faults")
    authority = Authority(folder)
    certificate, key = authority.certify("broker")
    port = State(folder).port("rabbitmq.tls")
    settings = _TLS.format(port=port, authority=authority.certificate, certificate=certificate, key=key)
    with own_rabbitmq(folder, settings=settings, plugins="rabbitmq_auth_mechanism_ssl") as node:
        yield Secured(node, authority, port)


@pytest.fixture(scope="session")
def node(secured: Secured) -> OwnRabbitMq:
    """The broker."""
    return secured.node


@pytest.fixture
async def own_lane(node: OwnRabbitMq) -> AsyncIterator[Lane]:
    """The lane, on the wire, on the broker that is hurt; a dead broker is noticed within three seconds."""
    async with AsyncExitStack() as stack:
        yield Lane("wire", f"{node.amqp}?heartbeat=1", stack)
