"""Publishing with a promise: a message counts as sent only when the broker confirmed it.

PublishRefusedError   the broker returned it (nobody is bound) or did not take it
"""

from collections.abc import Mapping
from typing import Any

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractExchange
from pamqp.commands import Basic

from broker import topology
from broker.connection import BrokerAwayError, Link
from broker.ids import new_token


class PublishRefusedError(Exception):
    """The broker did not take the message."""


class Publisher:
    """Publishes persistent messages, confirmed, over a link. Any number may be under way at once."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._exchanges: dict[str, AbstractExchange] = {}
        link.on_connect(self._set_up)
        link.on_loss(self._exchanges.clear)

    async def publish(
        self, exchange: str, key: str, body: bytes, headers: Mapping[str, Any], *, mandatory: bool, within: float = 10
    ) -> None:
        """Publish and wait for the confirm. Raises PublishRefusedError, or BrokerAwayError when the outcome is unknown."""
        message = aio_pika.Message(
            body,
            headers=dict(headers),
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            # aiormq matches returned messages by this id: two attempts must not share one.
            message_id=new_token(),
            correlation_id=str(headers.get("correlation-id", "")) or None,
        )
        target = self._exchanges.get(exchange)
        if target is None:
            raise BrokerAwayError("the broker is away")
        try:
            confirm = await target.publish(message, key, mandatory=mandatory, timeout=within)
        except aio_pika.exceptions.DeliveryError as error:
            raise PublishRefusedError(f"{exchange} {key}: {error}") from error
        except (aio_pika.exceptions.AMQPError, RuntimeError, TimeoutError, ConnectionError) as error:
            raise BrokerAwayError(repr(error)) from error
        if not isinstance(confirm, Basic.Ack):
            raise PublishRefusedError(f"{exchange} {key}: {confirm!r}")

    async def _set_up(self, connection: AbstractConnection) -> None:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        for name in topology.DURABLE_EXCHANGES:
            self._exchanges[name] = await channel.get_exchange(name, ensure=False)
