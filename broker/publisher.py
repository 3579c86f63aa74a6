"""Publishing with a promise: a message counts as sent only when the broker confirmed it.

PublishRefusedError   the broker returned it (nobody is bound) or did not take it
BrokerAwayError       nobody knows whether it arrived
└── ChannelLostError  because the broker closed the channel over this message, or over another one under way
"""

from collections.abc import Mapping
from typing import Any, Protocol

from broker.reconnecting import BrokerAwayError, Reconnecting


class PublishRefusedError(Exception):
    """The broker did not take the message."""


class ChannelLostError(BrokerAwayError):
    """The broker closed the channel over one of the messages under way."""


class Publisher(Protocol):
    """Publishes JSON over `link`. Any number may be under way at once; a channel that the broker closes over one of
    them is opened again."""

    link: Reconnecting[Any]

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
        """Publish and wait for the confirm, for at most `within` seconds; `expiration` is AMQP's, milliseconds as text.
        Raises PublishRefusedError (also for what AMQP has no words for), or BrokerAwayError when the outcome is
        unknown."""
        ...
