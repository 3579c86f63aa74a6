"""A service that runs.

Promise: it takes nothing before its schema is up to date and its queues are bound; at SIGTERM it says bye, takes
nothing new, finishes what it has begun and closes; when it no longer consumes although the broker is there, it ends
itself (exit code 70), so that whoever supervises it starts it again.
"""

import asyncio
import contextlib
import gc
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

import asyncpg
import uvloop
from sqlalchemy.exc import DBAPIError

from broker import answers, inbox, traced, tracing
from broker.answering import Answering
from broker.chores import do_forever
from broker.connection import Link
from broker.exposition import BadMetricsAddressError, expose, measure_lag_forever, telling
from broker.gauges import Gauge
from broker.injection import pick
from broker.lane import DEFAULT_SECONDS, Ask, Requester
from broker.lane.carriers import Carrier
from broker.liveness import Liveness
from broker.logs import SHIP_TO, BadCollectorError, configure_logging
from broker.master_keys import MasterKeyError
from broker.migrate import MigrationError, migrate
from broker.outbox import Origin
from broker.permitted import find_out
from broker.presence import Herald
from broker.reconnecting import BrokerAwayError, LoginRefusedError, Reconnecting
from broker.relay import Relay
from broker.retries import Retries
from broker.secret_files import take_secrets
from broker.service import Service
from broker.subscriptions import GRACE, Subscriptions
from broker.telemetry import log
from broker.transaction import Database, DatabaseAwayError, Transaction
from broker.vault import Vault
from broker.vitals import vitals

BROKER_PATIENCE = 60.0
PRUNE_EVERY = 3600.0
REWRAP_EVERY = 5.0
STUCK = 70


class SettingMissingError(Exception):
    """The environment lacks what the service needs."""


class ToldToStopError(Exception):
    """The service was told to stop before it served."""


@dataclass(frozen=True, slots=True)
class Running:
    """What a running service is made of, for those who run one inside their own loop (tests)."""

    requester: Requester
    database: Database | None
    stuck: asyncio.Event
    gauges: tuple[Gauge, ...]


@contextlib.asynccontextmanager
async def running(
    service: Service, *, amqp_url: str, database_url: str | None, stop: asyncio.Event | None = None
) -> AsyncIterator[Running]:
    """Run a service until the block ends. Raises BrokerAwayError if the broker can't be reached at the start, and
    ToldToStopError if `stop` is set while it is waited for."""
    stop = stop or asyncio.Event()
    service.check()
    database = await _database(service, database_url)
    link, carrier = Link(amqp_url, name=f"{service.name} queues and presence"), Carrier(amqp_url, name=service.name)
    publisher, publishing = carrier.publisher, carrier.publishing
    lasting = traced.publishing(publisher)
    link.on_connect(partial(find_out, service.manifest()))
    liveness = Liveness(publisher)
    requester = traced.asking(carrier.requester(owner=service.name))
    answering = traced.answering(Answering(service, database, requester), service.name)
    responder = carrier.responder(service.name, service.answerers, answering, liveness)
    subscriptions = Subscriptions(
        service, database, link=link, requester=requester, retries=Retries(lasting), liveness=liveness
    )
    herald = Herald(service.manifest(), publisher=publisher, consuming=link, liveness=liveness)
    links: dict[str, Reconnecting[Any]] = {"publishing": publishing, "requests": carrier.consuming, "queues": link}
    gauges = vitals(service, database, requester=requester, liveness=liveness, links=links)
    chores: list[Callable[[], Coroutine[Any, Any, None]]] = [
        herald.beat_forever,
        liveness.probe_forever,
        measure_lag_forever,
    ]
    if database is not None:
        relay = Relay(service.name, database.url, lasting)
        database.wake = relay.wake
        chores += [relay.run_forever, partial(_prune_forever, database)]
        if database.vault is not None:
            chores.append(partial(_rewrap_forever, database, database.vault))
    chores += [partial(do_forever, service, chore, database, requester) for chore in service.chores]
    tasks: list[asyncio.Task[None]] = []
    try:
        await publishing.start()
        await _up(publishing, stop)
        await _at_start(service, database, requester)
        for taking in (carrier.consuming, link):
            await taking.start()
            await _up(taking, stop)
        await subscriptions.start()
        tasks = [asyncio.create_task(_must_not_end(chore, liveness.stuck)) for chore in chores]
        log.info("serving", instance=str(herald.instance), version=service.version)
        yield Running(requester, database, liveness.stuck, tuple(gauges))
    finally:
        log.info("leaving")
        await herald.bye()
        await asyncio.gather(responder.drain(within=GRACE), subscriptions.drain(within=GRACE))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(carrier.consuming.close(), link.close())
        await publishing.close()
        await _close(service, database)


def run(service: Service) -> None:
    """Run a service as a process of its own. Exits 1 with one sentence if it can't start."""
    take_secrets()
    try:
        configure_logging(service.name, ship_to=os.environ.get(SHIP_TO))
    except BadCollectorError as error:
        sys.exit(f"{service.name}: {error}")
    amqp_url = os.environ.get("HEDGEROW_AMQP_URL")
    if not amqp_url:
        sys.exit(
            f"{service.name}: set HEDGEROW_AMQP_URL to the broker's address (amqp://login:password@host:port/vhost)."
        )
    try:
        service.check()
        expose(service.name, service.version, os.environ)
        tracing.start(service.name, service.version, os.environ)
    except (TypeError, BadMetricsAddressError, tracing.BadTracingError) as error:
        sys.exit(f"{service.name}: {error}")
    try:
        code = uvloop.run(_serve(service, amqp_url, os.environ.get("HEDGEROW_DATABASE_URL")))
    except ToldToStopError:
        sys.exit(0)
    except LoginRefusedError as error:
        sys.exit(
            f"{service.name}: {error}. It needs a login of its own name with the rights for what it hears and says: "
            "./justw up, run or grant gives it (docs/plug-ins.md)."
        )
    except BrokerAwayError as error:
        sys.exit(f"{service.name}: {error}; is HEDGEROW_AMQP_URL right?")
    except (OSError, DBAPIError, asyncpg.PostgresError, DatabaseAwayError) as error:
        sys.exit(f"{service.name}: the database can't be used ({error}); is HEDGEROW_DATABASE_URL right?")
    except (SettingMissingError, MigrationError, MasterKeyError) as error:
        sys.exit(f"{service.name}: {error}")
    except (TypeError, ValueError) as error:
        log.exception("the service can't be put together")
        sys.exit(f"{service.name}: {error}")
    sys.exit(code)


async def _serve(service: Service, amqp_url: str, database_url: str | None) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(service, amqp_url=amqp_url, database_url=database_url, stop=stop) as it:
        gc.collect()
        gc.freeze()  # else a full collection stops everything for 50 ms, to find that the modules are still there
        gc.enable()
        waits = [asyncio.create_task(stop.wait()), asyncio.create_task(it.stuck.wait())]
        with telling(it.gauges):
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if it.stuck.is_set():
            log.error("this instance does not consume any more, it ends itself")
            return STUCK
    return 0


async def _must_not_end(chore: Callable[[], Coroutine[Any, Any, None]], stuck: asyncio.Event) -> None:
    """An instance does not go on without its relay or its heartbeat: it ends itself when one fails."""
    try:
        await chore()
    except Exception:
        log.exception("a chore of this instance failed")
        stuck.set()


async def _up(link: Reconnecting[Any], stop: asyncio.Event) -> None:
    up, told = asyncio.create_task(link.wait_up(within=BROKER_PATIENCE)), asyncio.create_task(stop.wait())
    done, pending = await asyncio.wait((up, told), return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    if up not in done:
        raise ToldToStopError
    up.result()


async def _database(service: Service, url: str | None) -> Database | None:
    if url is None:
        if service.needs_database:
            raise SettingMissingError(
                "set HEDGEROW_DATABASE_URL to the service's database (postgresql://role:password@host/name)"
            )
        return None
    await migrate(url, service.migrations)
    vault = service.provided.get(Vault)
    database = Database(url, service=service.name, says=frozenset(kind.topic for kind in service.says), vault=vault)
    if vault is not None:
        await database.transact(Origin("start"), lambda tx: vault.unlock(tx.connection, service.name))
    return database


async def _at_start(service: Service, database: Database | None, requester: Requester) -> None:
    for handler, wants in service.starters:
        given: dict[Any, Any] = {**service.provided, Ask: Ask(requester, time.time() + DEFAULT_SECONDS)}

        async def work(
            transaction: Transaction | None,
            handler: Any = handler,
            wants: dict[str, Any] = wants,
            given: dict[Any, Any] = given,
        ) -> None:
            await handler(**pick(wants, {**given, Transaction: transaction}))

        await (work(None) if database is None else database.transact(Origin("start"), work))


async def _prune_forever(database: Database) -> None:
    while True:
        await asyncio.sleep(PRUNE_EVERY)
        with contextlib.suppress(Exception):
            await database.transact(Origin("prune"), _prune)


async def _rewrap_forever(database: Database, vault: Vault) -> None:
    """So that a master key is changed while everything runs. A file that makes no sense is complained of."""
    while True:
        again = False
        try:
            again = await database.transact(Origin("rewrap"), lambda tx: vault.rewrap(tx.connection))
        except Exception as error:
            log.error("the keys of people could not be looked through, it is tried again", error=error)
        if not again:
            await asyncio.sleep(REWRAP_EVERY)


async def _prune(transaction: Transaction) -> None:
    await inbox.prune(transaction.connection)
    await answers.prune(transaction.connection)


async def _close(service: Service, database: Database | None) -> None:
    for thing in service.provided.values():
        if hasattr(thing, "aclose"):
            await thing.aclose()
    if database is not None:
        await database.close()
