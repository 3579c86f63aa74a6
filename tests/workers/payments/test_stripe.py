"""How Stripe's words are read, those that localstripe never says: on answers in the forms of Stripe's documentation."""

import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from broker.ids import new_id
from contracts.base import Money
from tests.support.gateways import Asked, At, Said, answering, stripe_event
from workers.payments.gateway import GatewayRefusal, GatewayUnknown, Outcome
from workers.payments.stripe.adapter import StripeGateway
from workers.payments.stripe.objects import Event, Intent

ORDER = UUID("018bcfe5-6800-7000-8000-000000000001")
PLACED = 1_700_000_000
"""When the order was placed, as its id says."""
PRICE = Money(amount=1999, currency="EUR")


def intent(status: str = "requires_capture", *, order: object = ORDER, **more: Any) -> dict[str, Any]:
    told = {"id": "pi_1", "object": "payment_intent", "status": status, "amount": 1999, "currency": "eur"}
    money = {"amount_received": 1999 if status == "succeeded" else 0, "created": PLACED + 1}
    return {**told, **money, "metadata": {"order": str(order)}, "latest_charge": None, **more}


def charge(refunded: int) -> dict[str, Any]:
    return {"id": "ch_1", "object": "charge", "amount_refunded": refunded}


def refund(refund_id: UUID, **more: Any) -> dict[str, Any]:
    return {"id": "re_1", "object": "refund", "status": "succeeded", "metadata": {"refund": str(refund_id)}, **more}


def ok(told: dict[str, Any]) -> Said:
    return Said(200, json.dumps(told))


def listed(*told: dict[str, Any], has_more: bool = False) -> Said:
    return ok({"object": "list", "data": told, "has_more": has_more})


def refused(status: int = 400, type_: str = "invalid_request_error", **more: Any) -> Said:
    return Said(status, json.dumps({"error": {"type": type_, "message": "No.", **more}}))


@asynccontextmanager
async def stripe(
    said: Said, at: At | None = None, *, long: float = 5.0
) -> AsyncIterator[tuple[StripeGateway, list[Asked]]]:
    """The adapter, and what it asked of a Stripe that says this."""
    async with (
        answering(said, at) as (url, asked),
        aclosing(StripeGateway("sk_test_1", url=url, long=long)) as gateway,
    ):
        yield gateway, asked


async def hold(said: Said) -> Outcome:
    async with stripe(refused(404), {"POST /v1/payment_intents": said}) as (gateway, asked):
        held = await gateway.authorise(str(ORDER), PRICE, "pm_1", key="1")
        assert [request.line for request in asked] == ["POST /v1/payment_intents"]
        return held


# --- holding ----------------------------------------------------------------------------------------------------------


async def test_a_decline_comes_with_its_payment() -> None:
    error = {"code": "card_declined", "decline_code": "insufficient_funds"}
    of = intent("requires_payment_method", last_payment_error=error)
    declined = await hold(refused(402, "card_error", **error, payment_intent=of))
    assert (declined.status, declined.code, declined.gateway_id) == ("declined", "card_declined", "pi_1")


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"code": "resource_missing", "param": "payment_method"}, "resource_missing"),
        ({"code": "payment_method_unactivated"}, "payment_method_unactivated"),
        ({"code": "amount_too_small", "param": "amount"}, "amount_too_small"),
        ({"param": "currency"}, "invalid_payment_method"),
    ],
)
async def test_what_the_order_brought_along_is_declined(more: dict[str, Any], code: str) -> None:
    declined = await hold(refused(**more))
    assert (declined.status, declined.code) == ("declined", code)


@pytest.mark.parametrize(
    "said",
    [
        refused(code="parameter_unknown", param="capture_method"),
        refused(type_="idempotency_error"),
        refused(),
        refused(403, message="The key has no permission."),
    ],
)
async def test_what_we_did_wrong_is_a_defect(said: Said) -> None:
    with pytest.raises(GatewayRefusal):
        await hold(said)


@pytest.mark.parametrize(
    ("status", "ours"),
    [
        ("requires_payment_method", "requires_action"),
        ("requires_confirmation", "requires_action"),
        ("requires_action", "requires_action"),
        ("requires_capture", "authorised"),
        ("succeeded", "captured"),
        ("canceled", "voided"),
    ],
)
def test_every_status_means_something(status: str, ours: str) -> None:
    assert Intent.model_validate(intent(status)).outcome().status == ours


async def test_what_stripe_does_not_know_yet_is_unknown() -> None:
    with pytest.raises(GatewayUnknown, match="processing"):
        await hold(ok(intent("processing")))


# --- giving back ------------------------------------------------------------------------------------------------------


async def give_back(said: Said, *refunds: dict[str, Any], refunded: int = 0) -> Outcome:
    seen = ok(intent("succeeded", latest_charge=charge(refunded)))
    at = {"POST /v1/refunds": said, "GET /v1/payment_intents/pi_1": seen, "GET /v1/refunds": listed(*refunds)}
    async with stripe(refused(404), at) as (gateway, _):
        return await gateway.refund("pi_1", 500, ORDER, key="1")


async def test_more_than_was_captured_is_refused() -> None:
    outcome = await give_back(refused(message="Refund amount is greater than charge amount", param="amount"))
    assert (outcome.status, outcome.code, outcome.refunds) == ("captured", "refund_refused", frozenset())


async def test_a_refund_that_is_on_its_way_is_made() -> None:
    pending = refund(ORDER, status="pending")
    outcome = await give_back(ok(pending), pending, refunded=500)
    assert (outcome.code, outcome.refunds) == (None, frozenset({ORDER}))


async def test_a_refund_that_failed_is_not_made() -> None:
    failed, by_hand = (
        refund(ORDER, status="failed", failure_reason="lost_or_stolen_card"),
        refund(new_id(), metadata={}),
    )
    outcome = await give_back(ok(failed), failed, by_hand, refunded=200)
    assert (outcome.status, outcome.code, outcome.refunds) == ("captured", "lost_or_stolen_card", frozenset())


# --- looking ----------------------------------------------------------------------------------------------------------


async def test_an_order_is_looked_for_among_the_payments_since_it_was_placed() -> None:
    newer = [intent(order=new_id(), id=f"pi_{number}") for number in range(2)]
    older = intent(order=new_id(), id="pi_old", created=PLACED - 4000)
    pages = [
        listed(*newer, has_more=True),
        listed(intent("succeeded", latest_charge=charge(0)), intent("canceled", id="pi_2"), has_more=True),
        listed(older, has_more=True),
    ]
    at: dict[str, Said | list[Said]] = {
        "GET /v1/payment_intents": pages,
        "GET /v1/payment_intents/pi_1": ok(intent("succeeded", latest_charge=charge(0))),
        "GET /v1/payment_intents/pi_2": ok(intent("canceled", id="pi_2")),
    }
    async with stripe(refused(500), at) as (gateway, asked):
        assert (await gateway.find(str(ORDER))).gateway_id == "pi_1"
    lists = [request.line.partition("starting_after=")[2] for request in asked if "limit=" in request.line]
    assert lists == ["", "pi_1", "pi_2"]


async def test_an_order_whose_payment_is_known_is_asked_for_alone() -> None:
    async with stripe(refused(500), {"GET /v1/payment_intents/pi_1": ok(intent())}) as (gateway, asked):
        assert (await gateway.find(str(ORDER), gateway_id="pi_1")).status == "authorised"
    assert len(asked) == 1


async def test_strangers_may_look_as_they_like() -> None:
    strangers: list[dict[str, Any]] = [
        {"id": "pi_9", "created": PLACED + 9, "status": "of tomorrow"},
        intent(id="pi_8", metadata={"order": "12"}),
        intent(id="pi_7", metadata=None),
    ]
    async with stripe(listed(*strangers)) as (gateway, _):
        assert await gateway.find(str(ORDER)) == Outcome()


async def test_looking_through_too_many_is_unknown() -> None:
    endless = listed(intent(order=new_id()), has_more=True)
    async with stripe(endless, long=0.2) as (gateway, _):
        with pytest.raises(GatewayUnknown, match="longer than"):
            await gateway.find(str(ORDER))


# --- what moved -------------------------------------------------------------------------------------------------------


async def moved(gateway: StripeGateway, after: int) -> tuple[list[str], str | None]:
    holdings, cursor = await gateway.moved(str(after), older_than=timedelta(0))
    return [holding.gateway_id for holding in holdings], cursor


def event(created: int, **subject: Any) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(stripe_event("something.happened", **subject))
    return {**told, "created": created}


async def test_movements_before_the_first_look_are_not_ours() -> None:
    async with stripe(refused(500)) as (gateway, asked):
        holdings, cursor = await gateway.moved(None, older_than=timedelta(0))
    assert (holdings, asked) == ([], [])
    assert cursor is not None


async def test_whatever_happened_to_a_payment_of_ours_shows_it_as_it_stands() -> None:
    events = [
        event(PLACED + 3, object="refund", id="re_1", payment_intent="pi_1"),
        event(PLACED + 2, object="payment_intent", id="pi_2"),
        event(PLACED + 2, object="payout", id="po_1"),
        event(PLACED + 2, object="charge", id="ch_3", payment_intent="pi_3"),
        event(PLACED + 1, object="charge", id="ch_1", payment_intent="pi_1"),
    ]
    at = {
        "GET /v1/events": listed(*events),
        "GET /v1/payment_intents/pi_1": ok(intent("succeeded", latest_charge=charge(500))),
        "GET /v1/payment_intents/pi_2": ok(intent("of tomorrow", id="pi_2", order="not ours")),
        "GET /v1/payment_intents/pi_3": refused(404, code="resource_missing"),
        "GET /v1/refunds": listed(refund(ORDER)),
    }
    async with stripe(refused(500), at) as (gateway, _):
        (holding,), _ = await gateway.moved(str(PLACED), older_than=timedelta(0))
    assert (holding.reference, holding.amount, holding.refunded) == (ORDER, PRICE, 500)
    assert holding.outcome.refunds == {ORDER}


async def test_many_movements_are_taken_in_turns_that_lose_none() -> None:
    ids = [f"pi_{number}" for number in range(60)]
    events = [event(PLACED + 1 + number // 4, object="payment_intent", id=id_) for number, id_ in enumerate(ids)]
    some = [one for one in events if one["created"] > PLACED + 13]
    at: dict[str, Said | list[Said]] = {f"GET /v1/payment_intents/{id_}": ok(intent(id=id_)) for id_ in ids}
    at["GET /v1/events"] = [listed(*reversed(events)), listed(*reversed(some))]
    async with stripe(refused(500), at) as (gateway, asked):
        first, cursor = await moved(gateway, PLACED)
        assert (set(first), cursor) == (set(ids[:52]), str(PLACED + 13))
        assert set((await moved(gateway, int(cursor or 0)))[0]) == set(ids[52:])
    assert f"created[gt]={PLACED + 13}" in asked[-9].line


async def test_an_old_cursor_is_caught_up_with_in_windows() -> None:
    async with stripe(listed()) as (gateway, asked):
        assert await moved(gateway, PLACED) == ([], str(PLACED + 6 * 3600))
    assert f"created[lte]={PLACED + 6 * 3600}" in asked[0].line


# --- webhooks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subject", "status"),
    [
        (intent("succeeded"), "captured"),
        (intent("requires_payment_method", last_payment_error={"code": "card_declined"}), "declined"),
        (intent("of tomorrow"), ""),
        ({**charge(500), "metadata": {"order": str(ORDER)}, "status": "succeeded"}, ""),
    ],
)
def test_a_webhook_names_the_order_and_what_became_of_its_payment(subject: dict[str, Any], status: str) -> None:
    event = Event.model_validate_json(stripe_event("something.happened", **subject))
    assert (event.reference, event.status, event.intent_id is None) == (ORDER, status, subject["object"] == "charge")
