"""TLS, and certificates instead of passwords (SASL EXTERNAL): the same addresses for every carrier."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from broker.connection import Link
from broker.lane import Answer
from broker.lane.carriers import CARRIERS
from broker.lane.wire.connection import Wire
from broker.reconnecting import BrokerAwayError, LoginRefusedError
from tests.broker.diary import Write, Written, diary
from tests.broker.lane.carriers import Lane, asking, echo
from tests.broker.lane.faults.conftest import Secured
from tests.support.certificates import Authority
from tests.support.harness import under_test
from tests.support.postgresql import OwnPostgres, own_postgres

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def postgres(secured: Secured) -> Iterator[OwnPostgres]:
    """A database that the same authority certified."""
    with own_postgres(secured.authority) as it:
        yield it


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Whatever is closed at the end."""
    async with AsyncExitStack() as stack:
        yield stack


async def _connect(url: str) -> None:
    wire = await Wire.connect(url, name="tests", lost=lambda: None)
    await wire.close()


@pytest.mark.parametrize("carried_by", CARRIERS)
@pytest.mark.parametrize("certified", [False, True], ids=["password", "certificate"])
async def test_the_lane_runs_over_tls(
    secured: Secured, stack: AsyncExitStack, carried_by: str, certified: bool
) -> None:
    url = secured.certified("certified") if certified else secured.url()
    lane = Lane(carried_by, url, stack)
    await lane.responder(echo)
    requester = await lane.requester()
    bodies = [b"x" * size for size in (1, 20_000, 200_000, 1_000_000)]
    answers = await asyncio.gather(*(requester.request(asking(body)) for body in bodies))
    assert answers == [Answer(body) for body in bodies]


@pytest.mark.parametrize("certified", [False, True], ids=["password", "certificate"])
async def test_links_by_aio_pika_take_the_same_addresses(secured: Secured, certified: bool) -> None:
    link = Link(secured.certified("certified") if certified else secured.url(), name="tests")
    await link.start()
    await link.wait_up(within=10)
    await link.close()


async def test_a_service_speaks_tls_alone_to_its_servers(secured: Secured, postgres: OwnPostgres) -> None:
    async with under_test(diary(), amqp=secured.url(), database=postgres.url()) as bench:
        await bench.send(Write(account="a"))
        await bench.heard(Written)


@pytest.mark.parametrize(
    "options",
    [{"sslmode": "disable"}, {"host": "localhost"}, {"sslrootcert": "another"}],
    ids=["no TLS", "another host", "another authority"],
)
async def test_a_database_that_can_not_be_trusted_is_not_used(
    secured: Secured, postgres: OwnPostgres, tmp_path: Path, options: dict[str, Any]
) -> None:
    if "sslrootcert" in options:
        options = {"sslrootcert": Authority(tmp_path, "another").certificate}
    with pytest.raises((OSError, asyncpg.PostgresError)):
        async with under_test(diary(), amqp=secured.url(), database=postgres.url(**options)):
            pass


async def test_a_certificate_that_the_broker_does_not_know_as_a_login_is_refused(secured: Secured) -> None:
    certificate, key = secured.authority.certify("stranger")
    with pytest.raises(LoginRefusedError):
        await _connect(secured.url("stranger", auth="external", certfile=certificate, keyfile=key))


async def test_without_a_certificate_none_stands_for_a_login(secured: Secured) -> None:
    with pytest.raises(LoginRefusedError):
        await _connect(secured.url("certified", auth="external"))


async def test_a_broker_that_somebody_else_certified_is_not_spoken_to(secured: Secured, tmp_path: Any) -> None:
    another = Authority(tmp_path, "another").certificate
    with pytest.raises(BrokerAwayError, match="certificate verify failed") as raised:
        await _connect(secured.url(cafile=another))
    assert isinstance(raised.value.__cause__, ssl.SSLError)
    await _connect(secured.url(cafile=another, no_verify_ssl=1))


async def test_a_certificate_for_another_host_is_not_good_enough(secured: Secured) -> None:
    with pytest.raises(BrokerAwayError, match="certificate verify failed"):
        await _connect(secured.url(host="localhost"))


async def test_a_port_without_tls_is_not_waited_for(secured: Secured) -> None:
    plain = secured.url().replace(f":{secured.port}/", secured.node.amqp[secured.node.amqp.rindex(":") :][:-3])
    with pytest.raises(BrokerAwayError):
        await _connect(plain)
