"""What Stripe has: one payment, those of an order, those whose money moved.

Stripe's search is up to an hour behind (https://docs.stripe.com/api/payment_intents/search), so an order's payment is
looked for among all payments since the order was placed, newest first.
"""

from collections.abc import Iterable
from uuid import UUID

import stripe

from workers.payments.gateway import Holding, Outcome
from workers.payments.nonsense import making_sense
from workers.payments.stripe.calls import NAME, Answer, Calls, refusal
from workers.payments.stripe.objects import REFUND, Event, Intent, Listed, Refund, as_uuid

_AT_ONCE = 50
_CLOCKS_DIFFER_SECONDS = 3600


class Books:
    """Reads; each method raises GatewayUnknown where Stripe does not answer."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def seen(self, id_: str) -> Outcome:
        """What became of a payment. Raises GatewayRefusal where there is none."""
        try:
            answer = await self._show(id_)
        except stripe.InvalidRequestError as refused:
            raise refusal(refused) from refused
        with making_sense(NAME):
            intent = Intent.model_validate(answer)
        return await self.outcome(intent)

    async def outcome(self, intent: Intent) -> Outcome:
        """What became of a payment, with its refunds."""
        return intent.outcome(await self._refunds_of(intent))

    async def of_order(self, reference: str) -> list[Outcome]:
        """What became of each payment of an order."""
        outcomes: list[Outcome] = []
        since = _placed_at(reference) - _CLOCKS_DIFFER_SECONDS
        async for page in self._calls.pages(self._calls.intents.list_async):
            with making_sense(NAME):
                listed = [Listed.model_validate(item) for item in page]
            outcomes += [await self.seen(one.id) for one in listed if one.order == reference]
            if listed and listed[-1].created < since:
                break
        return outcomes

    async def moved(self, after: int, until: int) -> tuple[list[Holding], int | None]:
        """Our payments that something happened to after one second and up to another, by the last of that; and up to
        which second, where not all of them are here."""
        last: dict[str, int] = {}
        async for page in self._calls.pages(self._calls.events.list_async, created={"gt": after, "lte": until}):
            with making_sense(NAME):
                events = [Event.model_validate(item) for item in page]
            for event in events:
                if event.intent_id is not None:
                    last[event.intent_id] = max(event.created, last.get(event.intent_id, 0))
        oldest_first = sorted(last, key=lambda id_: last[id_])
        cut = last[oldest_first[_AT_ONCE - 1]] if len(last) > _AT_ONCE else None
        return await self._holdings(id_ for id_ in oldest_first if cut is None or last[id_] <= cut), cut

    async def _holdings(self, ids: Iterable[str]) -> list[Holding]:
        """Those that are ours: of strangers nothing more is read, and what Stripe does not show us is theirs."""
        holdings: list[Holding] = []
        for id_ in ids:
            try:
                answer = await self._show(id_)
            except stripe.InvalidRequestError as refused:
                if refused.http_status != 404:
                    raise refusal(refused) from refused
                continue
            with making_sense(NAME):
                if as_uuid(Listed.model_validate(answer).order) is None:
                    continue
                intent = Intent.model_validate(answer)
            refunds = await self._refunds_of(intent)
            with making_sense(NAME):
                holdings.append(intent.holding(refunds))
        return holdings

    async def _show(self, id_: str) -> Answer:
        return await self._calls.ask(self._calls.intents.retrieve_async(id_, {"expand": ["latest_charge"]}))

    async def _refunds_of(self, intent: Intent) -> frozenset[UUID]:
        if not intent.may_be_refunded:
            return frozenset()
        found: list[Refund] = []
        async for page in self._calls.pages(self._calls.refunds.list_async, payment_intent=intent.id):
            with making_sense(NAME):
                found += [Refund.model_validate(item) for item in page]
        ours = (as_uuid(refund.metadata.get(REFUND)) for refund in found if refund.is_made)
        return frozenset(id_ for id_ in ours if id_ is not None)


def _placed_at(reference: str) -> float:
    """When an order was placed, in Unix time, as its id tells (UUID version 7); without such an id, long ago."""
    order_id = as_uuid(reference)
    return (order_id.int >> 80) / 1000 if order_id is not None and order_id.version == 7 else 0.0
