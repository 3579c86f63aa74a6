"""Publishing with a promise: a message counts as sent only when the broker confirmed it.

PublishRefusedError   the broker returned it (nobody is bound) or did not take it
BrokerAwayError       nobody knows whether it arrived
└── ChannelLostError  because the broker closed the channel over this message, or over another one under way
"""

import asyncio
import struct
from collections.abc import Mapping
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from pamqp.commands import Basic

from broker import topology
from broker.connection import BrokerAwayError, Link
from broker.ids import new_token


class PublishRefusedError(Exception):
    """The broker did not take the message."""


class ChannelLostError(BrokerAwayError):
    """The broker closed the channel over one of the messages under way."""


class Publisher:
    """Publishes persistent messages, confirmed, over a link. Any number may be under way at once; a channel that the
    broker closes over one of them is opened again."""

    def __init__(self, link: Link) -> None:
        self._channel: AbstractChannel | None = None
        self._exchanges: dict[str, AbstractExchange] = {}
        self._opening = asyncio.Lock()
        self._link = link
        link.on_connect(self._open)
        link.on_loss(self._exchanges.clear)

    async def publish(
        self, exchange: str, key: str, body: bytes, headers: Mapping[str, Any], *, mandatory: bool, within: float = 10
    ) -> None:
        """Publish and wait for the confirm. Raises PublishRefusedError, or BrokerAwayError when the outcome is
        unknown."""
        message = aio_pika.Message(
            body,
            headers=dict(headers),
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            # aiormq matches returned messages by this id: two attempts must not share one.
            message_id=new_token(),
            correlation_id=str(headers.get("correlation-id", "")) or None,
        )
        try:
            target = await self._exchange(exchange)
            confirm = await target.publish(message, key, mandatory=mandatory, timeout=within)
        except aio_pika.exceptions.DeliveryError as error:
            raise PublishRefusedError(f"{exchange} {key}: {error}") from error
        except aio_pika.exceptions.ChannelClosed as error:
            raise ChannelLostError(repr(error)) from error
        except (TypeError, ValueError, struct.error) as error:
            raise PublishRefusedError(f"{exchange} {key}: AMQP has no words for it: {error}") from error
        except asyncio.CancelledError as error:
            # A lost connection cancels what waits on it; only who cancels this task may end it.
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
            raise BrokerAwayError(repr(error)) from error
        except Exception as error:
            raise BrokerAwayError(repr(error)) from error
        if not isinstance(confirm, Basic.Ack):
            raise PublishRefusedError(f"{exchange} {key}: {confirm!r}")

    async def _exchange(self, name: str) -> AbstractExchange:
        if self._channel is not None and self._channel.is_closed:
            async with self._opening:
                if self._channel.is_closed and self._link.is_up and self._link.connection is not None:
                    await self._open(self._link.connection)
        if name not in self._exchanges:
            raise BrokerAwayError("the broker is away")
        return self._exchanges[name]

    async def _open(self, connection: AbstractConnection) -> None:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        for name in topology.DURABLE_EXCHANGES:
            self._exchanges[name] = await channel.get_exchange(name, ensure=False)
        self._channel = channel
