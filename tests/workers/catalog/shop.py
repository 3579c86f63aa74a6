"""A running catalog service, with the words that its tests use most."""

import time
from typing import Any, TypeVar
from uuid import uuid4

from broker.lane import Request
from broker.transaction import Database
from contracts.base import Caller, Money, Operation, Query, Refusal
from contracts.catalog import AddProduct, Product
from tests.support.harness import Harness

Reply = TypeVar("Reply")

STAFF = Caller(id=uuid4(), roles=frozenset({"staff"}))
EUR = Money(amount=1999, currency="EUR")


class Shop:
    """A shop that is open; its staff asks, unless a test says who does."""

    def __init__(self, harness: Harness) -> None:
        self._harness = harness
        self.send = harness.send
        self.heard = harness.heard
        self.session = harness.session
        self.write = harness.write

    @property
    def database(self) -> Database:
        """What the shop works on."""
        assert self._harness.service is not None
        assert self._harness.service.database is not None
        return self._harness.service.database

    async def ask(self, operation: Operation[Reply], *, caller: Caller = STAFF) -> Reply:
        """The reply; fails the test when it is a refusal."""
        reply = await self._harness.ask(operation, caller, within=20)
        assert not isinstance(reply, Refusal), reply
        return reply

    async def says(self, question: Query[Any]) -> bytes:
        """The reply as it is written."""
        body = question.model_dump_json(exclude_unset=True).encode()
        answer = await self._harness.requester.request(Request(question.topic, body, time.time() + 20))
        assert not answer.refused, answer
        return answer.body

    async def refused(self, operation: Operation[Any], *, caller: Caller = STAFF) -> Refusal:
        """The refusal; fails the test when it is a reply."""
        reply = await self._harness.ask(operation, caller, within=20)
        assert isinstance(reply, Refusal), reply
        return reply

    async def sells(self, sku: str, *, on_hand: int = 10, **fields: Any) -> Product:
        """Puts a product on sale, for 19.99 EUR if nothing else is said."""
        fields = {"name": f"Product {sku}", "category": "things", "price": EUR} | fields
        return await self.ask(AddProduct(sku=sku, on_hand=on_hand, **fields))
