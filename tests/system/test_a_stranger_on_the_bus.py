"""A client that knows nothing of the platform but what is documented: an exchange and the headers of CloudEvents."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import aio_pika
from aio_pika.abc import AbstractQueue

from tests.support.customer import Customer, visitor
from tests.support.platform import Platform

TOPIC = "orders.order-placed.v1"
ADDRESS = {
    "name": "Gwendolyn Hartwright",
    "line1": "7 Quillmakers Yard",
    "postal_code": "QX1 7ZZ",
    "city": "Saltmarsh",
    "country": "GB",
}
EMAIL = "gwendolyn@guests.example"


async def test_a_plain_amqp_client_hears_of_orders_and_learns_nothing_about_people(
    platform: Platform, staff: Customer
) -> None:
    sku = await staff.add_product(on_hand=5, cents=700)
    async with subscription(platform) as queue, visitor(platform.edge) as guest:
        wanted = {
            "items": [{"sku": sku, "quantity": 2}],
            "payment_method": "pm_card_visa",
            "email": EMAIL,
            "shipping_address": ADDRESS,
            "billing_address": ADDRESS,
            "metadata": {"note": "for Gwendolyn"},
        }
        placed = await guest.post("/orders", wanted)
        async with queue.iterator(no_ack=True, timeout=5) as messages:
            message = await anext(messages)
    headers, event = message.headers, json.loads(message.body)
    assert (headers["cloudEvents_specversion"], headers["cloudEvents_type"]) == ("1.0", TOPIC)
    assert (headers["cloudEvents_source"], headers["cloudEvents_subject"]) == ("/orders", placed["id"])
    assert datetime.fromisoformat(str(headers["cloudEvents_time"])).tzinfo is not None
    assert headers["cloudEvents_id"]
    assert headers["sequence"] == 1
    assert (message.content_type, message.delivery_mode) == ("application/json", aio_pika.DeliveryMode.PERSISTENT)
    assert (event["order_id"], event["number"]) == (placed["id"], placed["number"])
    assert (event["items"], event["total"]) == ([{"sku": sku, "quantity": 2}], {"amount": 1400, "currency": "EUR"})
    told = (message.body.decode() + json.dumps(headers, default=str)).lower()
    personal = [*ADDRESS["name"].split(), ADDRESS["line1"], ADDRESS["postal_code"], ADDRESS["city"], EMAIL]
    assert [word for word in personal if word.lower() in told] == []


@asynccontextmanager
async def subscription(platform: Platform) -> AsyncIterator[AbstractQueue]:
    """A queue of its own, bound to the exchange of events."""
    async with await aio_pika.connect(platform.servers.amqp) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("stranger", exclusive=True)
        await queue.bind("events", TOPIC)
        yield queue
