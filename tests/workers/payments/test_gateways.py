"""What every adapter of a gateway does, each on its real server.

localstripe knows no idempotency keys, does not limit refunds and tells of no holds: what an adapter does with that is
shown on the sandbox (test_sandbox.py), and how Stripe's own words are read on recorded ones (test_stripe.py).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, aclosing
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from broker.ids import new_id
from contracts.base import Money
from infra.launcher.state import any_free_port
from infra.sandbox_gateway.webhooks import signature
from tests.support.counting import Counting
from tests.support.eventually import eventually
from tests.support.gateways import AtSandbox, AtStripe, Place, Said, answering
from tests.support.localstripe import running_localstripe
from tests.support.sandbox import WEBHOOK_SECRET, running_sandbox
from workers.payments.gateway import (
    Gateway,
    GatewayRefusal,
    GatewayUnknown,
    Holding,
    KeySpent,
    Outcome,
    Webhook,
)

pytestmark = pytest.mark.servers

PRICE = Money(amount=1999, currency="EUR")
A_SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module", params=["sandbox", "stripe"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    if request.param == "sandbox":
        with running_sandbox(tmp_path_factory.mktemp("sandbox")) as sandbox:
            yield AtSandbox(sandbox)
    else:
        with running_localstripe() as server:
            yield AtStripe(server)


@pytest.fixture
async def gateway(place: Place) -> AsyncIterator[Gateway]:
    async with at(place, place.url) as gateway:
        yield gateway


def at(place: Place, url: str, *, total: float = 4.0) -> AbstractAsyncContextManager[Gateway]:
    """The adapter, on any server."""
    return aclosing(place.adapter(url, total=total))


async def hold(gateway: Gateway, method: str, order_id: UUID | None = None) -> Outcome:
    return await gateway.authorise(str(order_id or new_id()), PRICE, method, key=uuid4().hex)


async def pay(gateway: Gateway, method: str, order_id: UUID | None = None) -> Outcome:
    held = await hold(gateway, method, order_id)
    return await gateway.capture(held.gateway_id, key=uuid4().hex)


# --- money ------------------------------------------------------------------------------------------------------------


async def test_money_is_held_taken_and_found(place: Place, gateway: Gateway) -> None:
    order_id = new_id()
    held = await hold(gateway, place.pays, order_id)
    assert (held.status, held.captured) == ("authorised", 0)
    assert await gateway.find(str(order_id)) == held
    taken = await gateway.capture(held.gateway_id, key=uuid4().hex)
    assert (taken.status, taken.gateway_id, taken.captured) == ("captured", held.gateway_id, 1999)
    assert await gateway.find(str(order_id)) == taken
    assert await gateway.find(str(order_id), gateway_id=held.gateway_id) == taken


async def test_money_is_let_go(place: Place, gateway: Gateway) -> None:
    order_id = new_id()
    held = await hold(gateway, place.pays, order_id)
    voided = await gateway.void(held.gateway_id, key=uuid4().hex)
    assert (voided.status, voided.gateway_id, voided.captured) == ("voided", held.gateway_id, 0)
    assert await gateway.find(str(order_id), gateway_id=held.gateway_id) == voided


async def test_a_decline_is_an_answer_with_its_code(place: Place, gateway: Gateway) -> None:
    order_id = new_id()
    declined = await hold(gateway, place.declines, order_id)
    assert (declined.status, declined.code) == ("declined", "card_declined")
    assert await gateway.find(str(order_id)) == declined


async def test_a_method_of_nobody_is_declined(gateway: Gateway) -> None:
    declined = await hold(gateway, "pm_of_nobody")
    assert (declined.status, declined.code) == ("declined", "invalid_payment_method")


async def test_a_customer_who_is_asked_completes(place: Place, gateway: Gateway) -> None:
    order_id = new_id()
    asked = await hold(gateway, await place.method_that_asks(), order_id)
    assert asked.status == "requires_action"
    assert asked.client_secret
    assert asked.next_action
    assert await gateway.find(str(order_id)) == asked
    await place.authenticate(asked, succeeded=True)
    held = await gateway.find(str(order_id), gateway_id=asked.gateway_id)
    assert (held.status, held.gateway_id) == ("authorised", asked.gateway_id)
    assert (await gateway.capture(held.gateway_id, key=uuid4().hex)).status == "captured"


async def test_a_customer_who_is_asked_fails(place: Place, gateway: Gateway) -> None:
    order_id = new_id()
    asked = await hold(gateway, await place.method_that_asks(), order_id)
    await place.authenticate(asked, succeeded=False)
    failed = await gateway.find(str(order_id))
    assert failed.status == "declined"
    assert "authentication" in (failed.code or "")


async def test_a_customer_who_is_asked_need_not_be_waited_for(place: Place, gateway: Gateway) -> None:
    asked = await hold(gateway, await place.method_that_asks())
    assert (await gateway.void(asked.gateway_id, key=uuid4().hex)).status == "voided"


async def test_money_goes_back_in_parts_and_each_part_is_told(place: Place, gateway: Gateway) -> None:
    paid = await pay(gateway, place.pays, order_id := new_id())
    first, second = new_id(), new_id()
    part = await gateway.refund(paid.gateway_id, 500, first, key=uuid4().hex)
    assert (part.status, part.code, part.captured, part.refunds) == ("captured", None, 1999, frozenset({first}))
    rest = await gateway.refund(paid.gateway_id, 1499, second, key=uuid4().hex)
    assert (rest.code, rest.refunds) == (None, frozenset({first, second}))
    assert await gateway.find(str(order_id)) == rest


async def test_what_is_taken_is_neither_let_go_nor_taken_again(place: Place, gateway: Gateway) -> None:
    paid = await pay(gateway, place.pays)
    for refused in (
        await gateway.void(paid.gateway_id, key=uuid4().hex),
        await gateway.capture(paid.gateway_id, key=uuid4().hex),
    ):
        assert (refused.status, refused.captured) == ("captured", 1999)
        assert refused.code


async def test_of_an_unknown_order_there_is_nothing(gateway: Gateway) -> None:
    assert await gateway.find(str(new_id())) == Outcome()


async def test_of_several_payments_the_one_that_holds_money_is_found(place: Place, gateway: Gateway) -> None:
    order_id = new_id()
    await hold(gateway, place.declines, order_id)
    held = await hold(gateway, place.pays, order_id)
    declined = await hold(gateway, place.declines, order_id)
    assert await gateway.find(str(order_id)) == held
    assert await gateway.find(str(order_id), gateway_id=declined.gateway_id) == held


async def test_what_moved_is_listed_after_the_cursor_and_not_just_now(place: Place, gateway: Gateway) -> None:
    _, cursor = await gateway.moved(None, older_than=A_SECOND)
    paid = await pay(gateway, place.pays, order_id := new_id())
    await gateway.refund(paid.gateway_id, 500, refund_id := new_id(), key=uuid4().hex)
    assert (await gateway.moved(cursor, older_than=timedelta(hours=1)))[0] == []

    async def listed() -> tuple[list[Holding], str | None]:
        found, after = await gateway.moved(cursor, older_than=A_SECOND)
        return [holding for holding in found if holding.reference == order_id], after

    async def is_listed() -> bool:
        return bool((await listed())[0])

    await eventually(is_listed)
    (holding,), after = await listed()
    assert (holding.gateway_id, holding.amount, holding.refunded) == (paid.gateway_id, PRICE, 500)
    assert (holding.outcome.status, holding.outcome.captured) == ("captured", 1999)
    assert holding.outcome.refunds == {refund_id}
    assert (await gateway.moved(after, older_than=A_SECOND))[0] == []


# --- webhooks ---------------------------------------------------------------------------------------------------------


def test_a_signed_webhook_tells_of_an_order(place: Place) -> None:
    order_id = new_id()
    told = read(place, body := place.event(order_id))
    assert told is not None
    assert (told.status, told.reference) == ("authorised", order_id)
    assert told.event_id in body


def test_of_another_shop_a_webhook_names_no_order(place: Place) -> None:
    told = read(place, place.event("not one of ours"))
    assert told is not None
    assert told.reference is None


@pytest.mark.parametrize("seconds", [-301, -86_400])
def test_a_stale_webhook_is_not_believed(place: Place, seconds: int) -> None:
    assert read(place, place.event(new_id()), at=time.time() + seconds) is None


def test_a_forged_webhook_is_not_believed(place: Place) -> None:
    body, gateway = place.event(new_id()), place.adapter(place.url)
    good = signature(body, WEBHOOK_SECRET)
    forged = ["", "t=1", "v1=", good + "0", good.replace("v1", "v0"), good[:-1] + "é", signature(body, "whsec_other")]
    assert [gateway.read_webhook(body, one) for one in forged] == [None] * len(forged)
    assert gateway.read_webhook(body + " ", good) is None


def test_without_a_secret_no_webhook_is_believed(place: Place) -> None:
    body = place.event(new_id())
    for secret in (None, ""):
        assert place.adapter(place.url, webhook_secret=secret).read_webhook(body, signature(body, "")) is None


@pytest.mark.parametrize("nonsense", ["", "null", "[]", "{}", '{"id": 7}', '{"id": "evt_1", "data": {"object": 1}}'])
def test_a_signed_webhook_that_makes_no_sense_is_not_believed_but_counted(place: Place, nonsense: str) -> None:
    counting = Counting("hedgerow_gateway_nonsense_total", gateway=place.adapter(place.url).name)
    assert read(place, nonsense) is None
    assert counting.more == 1


def read(place: Place, body: str, *, at: float | None = None) -> Webhook | None:
    return place.adapter(place.url).read_webhook(body, signature(body, WEBHOOK_SECRET, at=at))


# --- what is not known ------------------------------------------------------------------------------------------------


async def test_a_gateway_that_is_not_there_is_unknown(place: Place) -> None:
    async with at(place, f"http://127.0.0.1:{any_free_port()}") as gateway:
        with pytest.raises(GatewayUnknown):
            await gateway.find(str(new_id()))


async def test_silence_is_unknown(place: Place) -> None:
    async with answering(Said(silent=True)) as (url, _), at(place, url, total=0.2) as gateway:
        for asked in (hold(gateway, "pm_1"), gateway.capture("pi_1", key="1"), gateway.find(str(new_id()))):
            with pytest.raises(GatewayUnknown):
                await asked


async def test_every_write_carries_its_key(place: Place) -> None:
    async with answering(Said(503)) as (url, asked), at(place, url) as gateway:
        writes = (
            gateway.authorise(str(new_id()), PRICE, "pm_1", key="hold"),
            gateway.capture("pi_1", key="take"),
            gateway.void("pi_1", key="let go"),
            gateway.refund("pi_1", 500, new_id(), key="give back"),
        )
        for write in writes:
            with pytest.raises(GatewayUnknown):
                await write
        assert [request.key for request in asked] == ["hold", "take", "let go", "give back"]


@pytest.mark.parametrize("status", [409, 429, 500, 502, 503])
async def test_a_failure_is_unknown_and_the_gateway_is_asked_once(place: Place, status: int) -> None:
    said = Said(status, '{"error": {"type": "api_error", "message": "Something went wrong."}}')
    async with answering(said) as (url, asked), at(place, url) as gateway:
        with pytest.raises(GatewayUnknown) as unknown:
            await hold(gateway, "pm_1")
        assert not isinstance(unknown.value, KeySpent)
        assert len(asked) == 1


async def test_a_failure_that_is_replayed_spends_the_key(place: Place) -> None:
    said = Said(500, '{"error": {"type": "api_error"}}', {"Idempotent-Replayed": "true"})
    async with answering(said) as (url, _), at(place, url) as gateway:
        for asked in (hold(gateway, "pm_1"), gateway.refund("pi_1", 1, new_id(), key="1")):
            with pytest.raises(KeySpent):
                await asked


async def test_an_outage_behind_a_proxy_is_unknown(place: Place) -> None:
    async with answering(Said(502, "<html>Bad gateway</html>")) as (url, _), at(place, url) as gateway:
        with pytest.raises(GatewayUnknown):
            await hold(gateway, "pm_1")


@pytest.mark.parametrize(
    "nonsense",
    ["", "<html>", "null", "[]", "[{}]", "7", '"paid"', "{}", '{"id": "pi_1", "status": "eaten"}', '{"object": 7}'],
)
async def test_nonsense_is_unknown_and_counted(place: Place, nonsense: str) -> None:
    async with answering(Said(200, nonsense)) as (url, _), at(place, url) as gateway:
        for asked in (hold(gateway, "pm_1"), gateway.void("pi_1", key="1"), gateway.find(str(new_id()))):
            counting = Counting("hedgerow_gateway_nonsense_total", gateway=gateway.name)
            with pytest.raises(GatewayUnknown):
                await asked
            assert counting.more == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_gateway_that_sends_us_elsewhere_is_not_obeyed(place: Place, status: int) -> None:
    async with answering(Said(200)) as (elsewhere, asked_there):
        said = Said(status, "{}", {"Location": f"{elsewhere}/v1/payments"})
        async with answering(said) as (url, asked), at(place, url) as gateway:
            for ask in (hold(gateway, "pm_1"), gateway.find(str(new_id()))):
                with pytest.raises(GatewayUnknown):
                    await ask
            assert (len(asked), asked_there) == (2, [])


async def test_a_refusal_that_makes_no_sense_is_unknown_and_counted(place: Place) -> None:
    async with answering(Said(400, '{"mistake": "yours"}')) as (url, _), at(place, url) as gateway:
        counting = Counting("hedgerow_gateway_nonsense_total", gateway=gateway.name)
        with pytest.raises(GatewayUnknown):
            await hold(gateway, "pm_1")
        assert counting.more == 1


async def test_a_wrong_key_is_a_defect(place: Place) -> None:
    said = Said(401, '{"error": {"type": "invalid_request_error", "code": "api_key", "message": "No such key."}}')
    async with answering(said) as (url, _), at(place, url) as gateway:
        for asked in (hold(gateway, "pm_1"), gateway.find(str(new_id()))):
            with pytest.raises(GatewayRefusal):
                await asked


async def test_many_are_asked_at_once(place: Place, gateway: Gateway) -> None:
    held = await asyncio.gather(*(hold(gateway, place.pays) for _ in range(20)))
    assert len({one.gateway_id for one in held}) == 20
