"""A wire that comes back."""

from collections.abc import Callable

from broker.lane.wire.connection import Wire
from broker.reconnecting import Reconnecting


class WireLink(Reconnecting[Wire]):
    """One wire that is made again whenever it is lost."""

    async def _dial(self, lost: Callable[[], None]) -> Wire:
        return await Wire.connect(self.url, name=self.name, lost=lost)
