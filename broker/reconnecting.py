"""Connections that come back.

Promise: what is `Reconnecting` keeps one connection to the broker alive until it is closed. After every connect, the
first included, it runs its `setup` functions in order; while the broker is away it tries again with jittered back-off
and says so once.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Generic, Protocol, TypeVar
from urllib.parse import unquote, urlsplit

from broker.telemetry import log

MAX_BACK_OFF = 5.0
HEARTBEAT_SECONDS = 10
"""Where the address names none. RabbitMQ's 60 would notice a dead peer after three minutes."""


class BrokerAwayError(Exception):
    """The broker can't be reached right now."""


class LoginRefusedError(BrokerAwayError):
    """The broker does not let this login in, or not do what it must."""


class Closable(Protocol):
    """All that must be known of a connection here."""

    async def close(self) -> None: ...


C = TypeVar("C", bound=Closable)
Setup = Callable[[C], Awaitable[None]]


class Reconnecting(Generic[C]):
    """One connection that is made again whenever it is lost. `_dial` makes it, and raises LoginRefusedError where
    another try would be refused as well."""

    def __init__(self, amqp_url: str, *, name: str) -> None:
        self.url = amqp_url
        self.login = login_of(amqp_url)
        self.name = name
        self.connection: C | None = None
        self._setups: list[Setup[C]] = []
        self._losses: list[Callable[[], None]] = []
        self._up = asyncio.Event()
        self._refusal: Exception | None = None
        self._news = asyncio.Event()
        self._closed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def _dial(self, lost: Callable[[], None]) -> C:
        """Connect; `lost` is to be called as soon as the connection is no good any more."""
        raise NotImplementedError

    def on_connect(self, setup: Setup[C]) -> None:
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
            async with asyncio.timeout(within):
                await self._news.wait()
        except TimeoutError:
            raise BrokerAwayError(f"no connection to the broker within {within:g} s") from None
        if self._refusal is not None:
            raise LoginRefusedError(f"the login {self.login} may not do this: {self._refusal}") from self._refusal

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
                async with asyncio.timeout(3):
                    await self.connection.close()

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
                self._refusal = error if isinstance(error, LoginRefusedError) else None
                if failures == 1:
                    log.warning("the broker can't be reached, trying on", link=self.name, error=error)
            finally:
                self._lose(self._closed)
            if self._refusal is not None:
                self._news.set()
            await self._drop()
            await asyncio.sleep(min(MAX_BACK_OFF, 0.1 * 2**failures) * random.uniform(0.5, 1.0))  # noqa: S311

    async def _connect(self) -> None:
        self._closed = closed = asyncio.Event()
        self.connection = await self._dial(partial(self._lose, closed))
        for setup in self._setups:
            await setup(self.connection)
        if not closed.is_set():
            self._refusal = None
            self._up.set()
            self._news.set()

    def _lose(self, closed: asyncio.Event) -> None:
        """Say so at once, and once a connection."""
        if closed.is_set():
            return
        closed.set()
        self._up.clear()
        self._news.clear()
        for callback in self._losses:
            callback()

    async def _drop(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(1):
                    await connection.close()


def login_of(amqp_url: str) -> str:
    """The user name of an AMQP URL: what the broker validates as `user_id`."""
    return unquote(urlsplit(amqp_url).username or "guest")
