"""The way through the API: everything that it documents is asked for once, and refused once in each way."""

import json
from typing import Any
from uuid import uuid4

import asyncpg

from infra.sandbox_gateway.webhooks import signature
from tests.support.customer import Customer, visitor
from tests.support.platform import Platform
from tests.system.test_after_the_order import becomes
from tests.system.test_mails import mail, token_in
from tests.system.walk import Walk

VISA, DECLINED = "pm_card_visa", "pm_card_visa_chargeDeclined"
ASKED = "pm_card_authenticationRequired"
EUROS = {"amount": 1000, "currency": "EUR"}


async def through_the_platform(walk: Walk, staff: Customer, nobody: Customer) -> None:
    for name in ("health", "readiness", "openapi", "asyncapi"):
        await walk.take(nobody, f"platform.get-{name}")
    await walk.ask(nobody, "platform.get-docs")
    await walk.take(staff, "platform.get-services")
    for slug in ("no-such-route", "nothing"):
        await walk.ask(nobody, "platform.get-problem", at={"slug": slug})


async def through_accounts(walk: Walk, platform: Platform, staff: Customer, nobody: Customer) -> None:
    robin = {"email": f"{uuid4().hex}@customers.example", "password": "correct horse"}
    account = {**robin, "name": "Robin Test"}
    user = (await walk.take(nobody, "users.register-user.v1", account))["id"]
    await walk.ask(nobody, "users.register-user.v1", account)
    await walk.ask(nobody, "users.log-in.v1", {**robin, "password": "wrong horse"})
    proof = token_in(await mail(platform, robin["email"], "Please confirm"))
    for token in (proof, "nonsense"):
        await walk.ask(nobody, "users.verify-email.v1", {"token": token})
    await walk.take(nobody, "users.request-password-reset.v1", {"email": robin["email"]})
    proof = token_in(await mail(platform, robin["email"], "Choose a new password"))
    for token in (proof, "nonsense"):
        await walk.ask(nobody, "users.reset-password.v1", {"password": robin["password"]}, at={"token": token})
    session = await walk.take(nobody, "users.log-in.v1", robin)
    for token in (session["refresh_token"], "nonsense"):
        await walk.ask(nobody, "users.refresh-session.v1", {"refresh_token": token})
    await walk.take(nobody, "users.get-keys.v1")
    await through_staffs_accounts(walk, staff, user)
    await walk.ask(nobody, "users.log-in.v1", robin)
    await walk.take(staff, "users.suspend-user.v1", {"suspended": False}, at={"id": user})
    async with visitor(platform.edge) as mine:
        await mine.log_in(**robin)
        for name in ("get-stream-ticket", "get-me", "get-my-overview"):
            await walk.take(mine, f"users.{name}.v1")
        await walk.take(mine, "users.change-me.v1", {"name": "Robin"})
        await walk.take(mine, "users.log-out.v1")
    async with visitor(platform.edge) as mine:
        await mine.log_in(**robin)
        await walk.take(mine, "users.erase-me.v1")


async def through_staffs_accounts(walk: Walk, staff: Customer, user: str) -> None:
    """It leaves the user suspended."""
    me = (await staff.get("/users/me"))["id"]
    await walk.take(staff, "users.list-users.v1")
    for id in (user, str(uuid4())):
        await walk.ask(staff, "users.get-user.v1", at={"id": id})
    for id in (user, me, str(uuid4())):
        await walk.ask(staff, "users.assign-roles.v1", {"roles": ["baker"]}, at={"id": id})
        await walk.ask(staff, "users.suspend-user.v1", {"suspended": True}, at={"id": id})


async def through_the_catalogue(walk: Walk, staff: Customer, nobody: Customer) -> None:
    sku, category = f"W-{uuid4().hex[:12]}", {"name": "Tests"}
    product = {"sku": sku, "name": "A thing", "category": "tests", "price": EUROS, "on_hand": 5}
    for _ in range(2):
        await walk.ask(staff, "catalog.add-product.v1", product)
    for name in (sku, "NOTHING"):
        await walk.ask(nobody, "catalog.get-product.v1", at={"sku": name})
        await walk.ask(staff, "catalog.change-product.v1", {"name": "Another"}, at={"sku": name})
        await walk.ask(staff, "catalog.move-stock.v1", {"delta": 1, "reason": "counted"}, at={"sku": name})
    await walk.ask(staff, "catalog.move-stock.v1", {"delta": -10, "reason": "counted"}, at={"sku": sku})
    await walk.take(staff, "catalog.put-category.v1", category, at={"slug": "tests"})
    for name in ("catalog.list-products.v1", "catalog.list-categories.v1"):
        await walk.take(nobody, name)
    for name, answer in sorted(walk.documented):
        if answer == "304":
            await walk.ask(nobody, name, at={"sku": sku}, headers={"If-None-Match": "*"})


async def through_orders(walk: Walk, platform: Platform, staff: Customer, customer: Customer, nobody: Customer) -> None:
    sku, free, foreign = [await staff.add_product(on_hand=50, cents=cents) for cents in (1000, 0, 1000)]
    await staff.http.patch(f"/products/{foreign}", json={"price": {"amount": 1, "currency": "SEK"}})
    await through_the_till(walk, platform, customer, nobody, sku, free, foreign)
    confirmed, declined, asked = [await customer.order(sku, 2, card) for card in (VISA, DECLINED, ASKED)]
    await becomes(customer, confirmed, status="confirmed")
    await becomes(customer, declined, status="rejected")
    await becomes(customer, asked, status="awaiting-customer")
    await walk.take(customer, "orders.list-orders.v1")
    for id in (confirmed["id"], str(uuid4())):
        await walk.ask(customer, "orders.get-order.v1", at={"id": id})
    for id in (asked["id"], declined["id"], str(uuid4())):
        await walk.ask(customer, "orders.cancel-order.v1", at={"id": id})
    told = await walk.ask(customer, "orders.follow-order.v1", at={"id": declined["id"]})
    heard = {"Last-Event-ID": str(told.text.count("id: "))}
    await walk.ask(customer, "orders.follow-order.v1", at={"id": declined["id"]}, headers=heard)
    await walk.ask(customer, "orders.follow-order.v1", at={"id": str(uuid4())})
    guests = await nobody.post("/orders", {"items": of(sku), "payment_method": VISA, "email": "guest@example.org"})
    for id in (guests["id"], confirmed["id"], str(uuid4())):
        await walk.ask(staff, "orders.forget-guest.v1", at={"id": id})
    await through_dispatch(walk, staff, confirmed["id"], declined["id"], sku)


async def through_the_till(
    walk: Walk, platform: Platform, customer: Customer, nobody: Customer, sku: str, free: str, foreign: str
) -> None:
    baskets: list[dict[str, Any]] = [
        {"items": of(sku)},
        {"items": of("NOTHING")},
        {"items": of(sku, foreign)},
        {"items": of(sku), "shipping_method": "by-owl"},
    ]
    for basket in baskets:
        await walk.ask(customer, "catalog.make-quote.v1", basket)
    old = (await customer.post("/quotes", baskets[0]))["id"]
    await expire(platform, old)
    others: list[dict[str, Any]] = [{"quote": old}, {"quote": str(uuid4())}, {}, {"items": of(free)}]
    for basket in (*baskets, *others):
        await walk.ask(customer, "orders.place-order.v1", {**basket, "payment_method": VISA})
    await walk.ask(nobody, "orders.place-order.v1", {**baskets[0], "payment_method": VISA})


async def through_dispatch(walk: Walk, staff: Customer, id: str, declined: str, sku: str) -> None:
    nothing, parcel = str(uuid4()), {"carrier": "A carrier", "tracking": "1"}
    refunds = ({"amount": {**EUROS, "amount": 10**6}}, {"amount": {**EUROS, "currency": "SEK"}}, {"amount": EUROS})
    await walk.ask(staff, "orders.deliver-order.v1", at={"id": id})
    for order, more in ((nothing, {}), (declined, {}), (id, {"lines": of(sku, quantity=3)}), (id, {})):
        await walk.ask(staff, "orders.ship-order.v1", {**parcel, **more}, at={"id": order})
    for order in (nothing, id):
        await walk.ask(staff, "orders.deliver-order.v1", at={"id": order})
        for refund in refunds:
            await walk.ask(staff, "orders.refund-order.v1", {**refund, "restock": False}, at={"id": order})


async def through_webhooks(walk: Walk, platform: Platform, nobody: Customer) -> None:
    told = {"id": "evt_walk", "object": "event", "type": "payment.authorised", "created": 1}
    payment = {"id": "pay_walk", "reference": str(uuid4()), "status": "authorised"}
    body = json.dumps({**told, "data": payment})
    for secret in (platform.state.secret("gateway.webhooks"), "another"):
        headers = {"Stripe-Signature": signature(body, secret)}
        await walk.ask(
            nobody, "payments.receive-webhook.v1", at={"gateway": "sandbox"}, content=body.encode(), headers=headers
        )


def of(*skus: str, quantity: int = 1) -> list[dict[str, Any]]:
    """So much of each."""
    return [{"sku": sku, "quantity": quantity} for sku in skus]


async def expire(platform: Platform, quote: str) -> None:
    """Let this quote be of yesterday."""
    connection = await asyncpg.connect(platform.servers.database)
    try:
        await connection.execute("UPDATE catalog.quotes SET expires_at = now() - interval '1 day' WHERE id = $1", quote)
    finally:
        await connection.close()
