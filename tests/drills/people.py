"""Customers and staff of a drill: they order, prove who they are, call off, ship, deliver and give money back.

Promise: whatever was accepted of them stands on the wish afterwards, to be compared with what became of it.
"""

import asyncio
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

import httpx

from tests.support.load import PATIENCE, Asking, insistently

UNDER_WAY = {"placed", "reserved", "awaiting-customer", "authorised"}
ASKS = "pm_card_authenticationRequired"
CARDS = (
    *("pm_card_visa",) * 10,
    *(ASKS,) * 2,
    *("pm_card_visa_chargeDeclined", "pm_sandbox_capture_fails", "pm_sandbox_error_once"),
)
Errand = Literal["ship-a-piece", "ship", "deliver", "refund-an-amount", "refund-a-piece", "refund-all"]
ERRANDS: tuple[Errand, ...] = ("ship-a-piece", "ship", "deliver", "refund-an-amount", "refund-a-piece", "refund-all")


@dataclass
class Wish:
    """What somebody wants to buy, under which key, and what more is done with the order: how its customer answers the
    bank, when they call it off, what staff does once it is paid. Every answer that accepted something is kept."""

    sku: str
    quantity: int
    card: str
    answers: Literal["succeeded", "failed"] | None = None
    calls_off: Literal["at-once", "afterwards"] | None = None
    errands: tuple[Errand, ...] = ()
    key: str = field(default_factory=lambda: secrets.token_hex(16))
    accepted: list[dict[str, Any]] = field(default_factory=list)
    order: dict[str, Any] = field(default_factory=dict)
    called_off: bool = False
    shipments: list[str] = field(default_factory=list)
    refunds: list[str] = field(default_factory=list)

    @property
    def body(self) -> dict[str, Any]:
        """The request."""
        return {"items": [{"sku": self.sku, "quantity": self.quantity}], "payment_method": self.card}


def any_wish(chance: Random, skus: list[str]) -> Wish:
    """What a customer may want, and what may come of it: usually nothing more than the order."""
    wish = Wish(chance.choice(skus), chance.randint(1, 3), chance.choice(CARDS))
    if wish.card == ASKS:
        wish.answers = chance.choices(("succeeded", "failed", None), (8, 2, 1))[0]
    wish.calls_off = chance.choices((None, "at-once", "afterwards"), (17, 2, 1))[0]
    if wish.calls_off is None and chance.random() < 0.3:
        wish.errands = tuple(chance.choices(ERRANDS, k=chance.randint(1, 4)))
    return wish


@dataclass(frozen=True)
class People:
    """The customers, the staff, and what it is like for them to ask."""

    customer: httpx.AsyncClient
    staff: httpx.AsyncClient
    asking: Asking

    async def live(self, wishes: Iterable[Wish], *, at_once: int) -> None:
        """Live through the wishes, so many at a time."""
        waiting = iter(wishes)

        async def one_after_the_other() -> None:
            for wish in waiting:
                await self._live(wish)

        async with asyncio.TaskGroup() as crowd:
            for _ in range(at_once):
                crowd.create_task(one_after_the_other())

    async def _live(self, wish: Wish) -> None:
        await self._place(wish)
        if wish.calls_off == "at-once":
            await self._call_off(wish)
        await self._wait(wish)
        if wish.calls_off == "afterwards":
            await self._call_off(wish)
        for errand in wish.errands if wish.order["status"] == "confirmed" else ():
            await self._run(wish, errand)

    async def _place(self, wish: Wish) -> None:
        answer = await insistently(self.customer, "POST", "/orders", body=wish.body, key=wish.key, asking=self.asking)
        assert answer.status_code == 201, answer.text
        wish.accepted.append(answer.json())
        wish.order = answer.json()

    async def _wait(self, wish: Wish) -> None:
        """Until the order is decided, or patience ends."""
        loop, answers = asyncio.get_running_loop(), wish.answers
        deadline = loop.time() + PATIENCE
        while wish.order["status"] in UNDER_WAY and loop.time() < deadline:
            await asyncio.sleep(1)
            path = f"/orders/{wish.order['id']}"
            wish.order = (await insistently(self.customer, "GET", path, asking=self.asking)).json()
            page = wish.order["payment"].get("next_action")
            if page and answers:
                await insistently(self.customer, "POST", f"{page['redirect_to_url']['url']}?outcome={answers}")
                answers = None

    async def _call_off(self, wish: Wish) -> None:
        if answer := await self._ask(self.customer, wish, "cancellation", {}):
            wish.called_off, wish.order = True, answer

    async def _run(self, wish: Wish, errand: Errand) -> None:
        piece, parcel = [{"sku": wish.sku, "quantity": 1}], {"carrier": "Post", "tracking": "1"}
        some = {"amount": 100, "currency": wish.order["total"]["currency"]}
        match errand:
            case "deliver":
                await self._ask(self.staff, wish, "deliveries", {})
            case "ship" | "ship-a-piece":
                body = parcel if errand == "ship" else {**parcel, "lines": piece}
                if shipment := await self._ask(self.staff, wish, "shipments", body):
                    wish.shipments.append(shipment["id"])
            case _:
                wanted: dict[str, Any] = {"refund-an-amount": {"amount": some}, "refund-a-piece": {"lines": piece}}
                body = {"restock": errand != "refund-an-amount", **wanted.get(errand, {})}
                if refund := await self._ask(self.staff, wish, "refunds", body):
                    wish.refunds.append(refund["id"])

    async def _ask(self, http: httpx.AsyncClient, wish: Wish, what: str, body: Any) -> dict[str, Any] | None:
        """The answer where it is accepted; None where the order has moved on."""
        path, key = f"/orders/{wish.order['id']}/{what}", secrets.token_hex(16)
        answer = await insistently(http, "POST", path, body=body, key=key, asking=self.asking)
        assert answer.is_success or answer.status_code == 409, answer.text
        return dict(answer.json()) if answer.is_success else None
