"""Connections that come back.

Promise: a `Link` keeps one AMQP connection alive until it is closed. After every connect, the first included, it runs
its `setup` functions in order; while the broker is away it tries again with jittered back-off and says so once. A
connection that lost one of the link's own channels or consumers counts as lost: half of one would stay so for ever.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from urllib.parse import unquote, urlsplit

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import ChannelAccessRefused, ProbableAuthenticationError
from yarl import URL

from broker.telemetry import log

HEARTBEAT_SECONDS = 10
"""The default of 60 would notice a dead peer after three minutes."""
MAX_BACK_OFF = 5.0

_REFUSALS = (ChannelAccessRefused, ProbableAuthenticationError)

Setup = Callable[[AbstractConnection], Awaitable[None]]


class BrokerAwayError(Exception):
    """The broker can't be reached right now."""


def tuned(amqp_url: str) -> str:
    """The URL with our heartbeat, unless it names one."""
    url = URL(amqp_url)
    return str(url if "heartbeat" in url.query else url.update_query(heartbeat=HEARTBEAT_SECONDS))


def login_of(amqp_url: str) -> str:
    """The user name of an AMQP URL: what the broker validates as `user_id`."""
    return unquote(urlsplit(amqp_url).username or "guest")


class LoginRefusedError(BrokerAwayError):
    """The broker does not let this login in, or not do what it must."""


class Link:
    """One AMQP connection that is made again whenever it is lost."""

    def __init__(self, amqp_url: str, *, name: str) -> None:
        self.url = tuned(amqp_url)
        self.login = login_of(amqp_url)
        self.name = name
        self.connection: AbstractConnection | None = None
        self._setups: list[Setup] = []
        self._losses: list[Callable[[], None]] = []
        self._up = asyncio.Event()
        self._refusal: Exception | None = None
        self._news = asyncio.Event()
        self._closed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def on_connect(self, setup: Setup) -> None:
        """Run `setup(connection)` after every connect."""
        self._setups.append(setup)

    def on_loss(self, callback: Callable[[], None]) -> None:
        """Call `callback()` as soon as the connection is lost or closed."""
        self._losses.append(callback)

    @property
    def is_up(self) -> bool:
        """Whether the connection stands and is set up."""
        return self._up.is_set()

    async def wait_up(self, *, within: float) -> None:
        """Wait for the connection. Raises BrokerAwayError after `within` seconds, LoginRefusedError at once."""
        if self._up.is_set():
            return
        try:
            await asyncio.wait_for(self._news.wait(), within)
        except TimeoutError:
            raise BrokerAwayError(f"no connection to the broker within {within:g} s") from None
        if self._refusal is not None:
            raise LoginRefusedError(f"the login {self.login} may not do this: {self._refusal}") from self._refusal

    async def channel(self, connection: AbstractConnection, *, publisher_confirms: bool = True) -> AbstractChannel:
        """A channel that a setup can't do without: when the broker closes it, or cancels what is consumed on it, the
        connection is made again. Unroutable messages raise on it, where it confirms."""
        lost = self._closed.set
        channel = await connection.channel(publisher_confirms=publisher_confirms, on_return_raises=publisher_confirms)
        channel.close_callbacks.add(lambda *_: lost())
        (await channel.get_underlay_channel()).on_consumer_cancel_callbacks.add(lambda _: lost())
        return channel

    async def start(self) -> None:
        """Begin to connect; does not wait for it."""
        self._task = asyncio.create_task(self._keep(), name=f"link {self.name}")

    async def close(self) -> None:
        """Close the connection and stay closed."""
        while self._task is not None and not self._task.done():
            self._task.cancel()  # more than once: a setup may swallow the first
            await asyncio.wait({self._task}, timeout=0.5)
        if self.connection is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self.connection.close(), 3)

    async def _keep(self) -> None:
        failures = 0
        while True:
            try:
                await self._connect()
                since = time.monotonic()
                await self._closed.wait()
                failures = 0 if time.monotonic() - since > MAX_BACK_OFF else failures + 1
                log.warning("the connection to the broker was lost", link=self.name)
            except Exception as error:
                failures += 1
                self._refusal = error if isinstance(error, _REFUSALS) else None
                if failures == 1:
                    log.warning("the broker can't be reached, trying on", link=self.name, error=repr(error))
            finally:
                self._lost()
            await self._drop()
            await asyncio.sleep(min(MAX_BACK_OFF, 0.1 * 2**failures) * random.uniform(0.5, 1.0))  # noqa: S311

    async def _connect(self) -> None:
        self._closed = closed = asyncio.Event()
        self.connection = await aio_pika.connect(self.url, timeout=5, client_properties={"connection_name": self.name})
        self.connection.close_callbacks.add(lambda *_: closed.set())
        for setup in self._setups:
            await setup(self.connection)
        if not closed.is_set():
            self._refusal = None
            self._up.set()
            self._news.set()

    def _lost(self) -> None:
        self._up.clear()
        if self._refusal is None:
            self._news.clear()
        else:
            self._news.set()
        for callback in self._losses:
            callback()

    async def _drop(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(connection.close(), 1)
