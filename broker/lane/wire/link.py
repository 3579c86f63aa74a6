"""A wire that comes back."""

from collections.abc import Callable

from broker.lane.wire.address import Address
from broker.lane.wire.connection import Wire
from broker.reconnecting import Reconnecting


class WireLink(Reconnecting[Wire]):
    """One wire that is made again whenever it is lost. Raises ValueError for what is no address."""

    def __init__(self, amqp_url: str, *, name: str) -> None:
        Address.of(amqp_url)
        super().__init__(amqp_url, name=name)

    async def _dial(self, lost: Callable[[], None]) -> Wire:
        return await Wire.connect(self.url, name=self.name, lost=lost)
