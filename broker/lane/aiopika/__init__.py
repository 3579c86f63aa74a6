"""The request lane carried by aio-pika."""

from broker.lane.aiopika.requester import AioPikaRequester
from broker.lane.aiopika.responder import AioPikaResponder

__all__ = ["AioPikaRequester", "AioPikaResponder"]
