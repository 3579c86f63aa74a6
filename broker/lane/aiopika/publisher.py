"""Publishing with publisher confirms by aio-pika."""

import asyncio
import struct
from collections.abc import Mapping
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection
from pamqp.commands import Basic

from broker.connection import Link
from broker.ids import new_token
from broker.publisher import ChannelLostError, PublishRefusedError
from broker.reconnecting import BrokerAwayError, Reconnecting


class AioPikaPublisher:
    """Publishes over one link, on a channel of its own that is opened again when the broker closes it."""

    def __init__(self, link: Link) -> None:
        self._channel: AbstractChannel | None = None
        self._opening = asyncio.Lock()
        self.link: Reconnecting[Any] = link
        link.on_connect(self._open)

    async def publish(
        self,
        exchange: str,
        key: str,
        body: bytes,
        headers: Mapping[str, Any],
        *,
        mandatory: bool,
        within: float = 10,
        persistent: bool = True,
        type: str | None = None,
        user_id: str | None = None,
        correlation_id: str | None = None,
        reply_to: str | None = None,
        expiration: str | None = None,
    ) -> None:
        """Publish and wait for the confirm. Raises PublishRefusedError, or BrokerAwayError when the outcome is
        unknown."""
        message = aio_pika.Message(
            body,
            headers=dict(headers),
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT if persistent else None,
            # aiormq matches returned messages by this id: two attempts must not share one.
            message_id=new_token(),
            expiration=None if expiration is None else int(expiration) / 1000,
            type=type,
            user_id=user_id,
            correlation_id=correlation_id,
            reply_to=reply_to,
        )
        try:
            target = await (await self._ready()).get_exchange(exchange, ensure=False)
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

    async def _ready(self) -> AbstractChannel:
        async with self._opening:
            connection = self.link.connection
            if self._channel is None or connection is None:
                raise BrokerAwayError("the broker is away")
            if self._channel.is_closed and self.link.is_up:
                await self._open(connection)
            return self._channel

    async def _open(self, connection: AbstractConnection) -> None:
        self._channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
