"""Connections by aio-pika.

Promise: a connection that lost one of the link's own channels or consumers counts as lost: half of one would stay so
for ever.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import cast

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq import Channel
from aiormq.exceptions import ChannelAccessRefused, ProbableAuthenticationError
from pamqp.base import Frame
from yarl import URL

from broker.reconnecting import HEARTBEAT_SECONDS, LoginRefusedError, Reconnecting


def tuned(amqp_url: str) -> str:
    """The URL with our heartbeat, unless it names one."""
    url = URL(amqp_url)
    return str(url if "heartbeat" in url.query else url.update_query(heartbeat=HEARTBEAT_SECONDS))


class Link(Reconnecting[AbstractConnection]):
    """One connection by aio-pika that is made again whenever it is lost."""

    def __init__(self, amqp_url: str, *, name: str) -> None:
        super().__init__(tuned(amqp_url), name=name)

    async def channel(self, connection: AbstractConnection, *, publisher_confirms: bool = True) -> AbstractChannel:
        """A channel that a setup can't do without: when the broker closes it, or cancels what is consumed on it, the
        connection is made again. Unroutable messages raise on it, where it confirms."""
        lost = partial(self._lose, self._closed)
        channel = await connection.channel(publisher_confirms=publisher_confirms, on_return_raises=publisher_confirms)
        channel.close_callbacks.add(lambda *_: lost())
        (await channel.get_underlay_channel()).on_consumer_cancel_callbacks.add(lambda _: lost())
        return channel

    async def _connect(self) -> None:
        try:
            await super()._connect()
        except (ChannelAccessRefused, ProbableAuthenticationError) as error:
            raise LoginRefusedError(str(error)) from error

    async def _dial(self, lost: Callable[[], None]) -> AbstractConnection:
        connection = await aio_pika.connect(self.url, timeout=5, client_properties={"connection_name": self.name})
        connection.close_callbacks.add(lambda *_: lost())
        return connection


async def declare(channel: AbstractChannel, methods: Iterable[Frame]) -> None:
    """Have the broker do what broker/topology.py describes."""
    underlay = cast(Channel, await channel.get_underlay_channel())  # its interface leaves `rpc` out
    for method in methods:
        await underlay.rpc(method)
