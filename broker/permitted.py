"""Whether the broker lets a service say what it is going to say, found out before it serves.

Promise: nothing is said. What is published in a transaction (AMQP 0-9-1, class tx) is checked against the login's
rights at once, and a rollback forgets it.
"""

from aio_pika.abc import AbstractConnection

from broker import topology
from contracts.presence import Manifest


async def find_out(manifest: Manifest, connection: AbstractConnection) -> None:
    """Raises aio-pika's ChannelAccessRefused, which names what is withheld."""
    async with connection.channel(publisher_confirms=False) as channel:
        underlay = await channel.get_underlay_channel()
        await underlay.tx_select()
        for exchange, key in topology.published(manifest):
            await underlay.basic_publish(b"", exchange=exchange, routing_key=key)
        await underlay.tx_rollback()
