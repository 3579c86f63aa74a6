"""What all services share on the broker, looked for, and made where it is not there.

Promise: a login that may not make it needs only that somebody has: whoever starts the platform. What is there and right
is not touched.
"""

import aio_pika
from aio_pika.abc import AbstractConnection

from broker import topology
from broker.connection import declare
from broker.lane.wire.connection import NOT_FOUND, ClosedByBrokerError, Wire


async def ensure_on_wire(wire: Wire) -> None:
    """Raises BrokerAwayError; LoginRefusedError where something is missing that this login may not make."""
    looking = await wire.channel()
    looking.on_end = lambda error: None  # what is not there closes the channel, not the wire
    try:
        await looking.call(*topology.look_for_shared())
    except ClosedByBrokerError as error:
        if error.code != NOT_FOUND:
            raise
        making = await wire.channel()
        await making.call(*topology.shared())
        await making.close()
    else:
        await looking.close()


async def ensure(connection: AbstractConnection) -> None:
    """The same by aio-pika. Raises what aio-pika raises."""
    try:
        async with connection.channel() as channel:
            await declare(channel, topology.look_for_shared())
    except aio_pika.exceptions.ChannelNotFoundEntity:
        async with connection.channel() as channel:
            await declare(channel, topology.shared())
