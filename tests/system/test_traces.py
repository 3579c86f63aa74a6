"""What the running platform tells a collector of traces."""

import json
import secrets

from broker.topology import FRONT_DOOR
from tests.support.collector import Collector
from tests.support.customer import Customer
from tests.support.eventually import eventually
from tests.support.otlp import Receiver, Taken


async def test_an_order_is_one_trace_from_the_request_to_the_capture(
    receiver: Receiver, collector: Collector, customer: Customer, staff: Customer
) -> None:
    sku, trace, mine = await staff.add_product(on_hand=10), secrets.token_hex(16), secrets.token_hex(8)
    customer.http.headers["traceparent"] = f"00-{trace}-{mine}-01"
    order = await customer.order(sku)
    del customer.http.headers["traceparent"]
    assert (await customer.settled(order))["status"] == "confirmed"

    async def is_whole() -> list[Taken]:
        spans = receiver.of(trace)
        known = {mine} | {span.id for span in spans}
        assert not [span for span in spans if span.parent not in known]
        assert "process orders.payments.payment-captured.v1" in {span.name for span in spans}
        return spans

    spans = await eventually(is_whole, within=20)
    (request,) = (span for span in spans if span.kind == "server")
    assert (request.service, request.name, request.parent) == ("edge", "POST /orders", mine)
    assert request.attributes["http.response.status_code"] in (200, 201, 202)
    assert {span.service for span in spans} >= {"edge", "orders", "catalog", "payments"}
    calls = [str(span.attributes["url.full"]) for span in spans if span.name == "POST" and span.kind == "client"]
    assert [call.rpartition("/")[2] for call in calls] == ["payments", "capture"]
    assert {"INSERT orders", "COMMIT"} <= {span.name for span in spans}
    assert len([span for span in spans if span.service == "edge"]) == 2
    lines = [json.loads(line) for line in collector.lines if trace in line]
    assert "edge" in {line["service.name"] for line in lines if line["message"] == "request"}


async def test_spans_tell_nothing_of_what_a_customer_wrote(receiver: Receiver, customer: Customer) -> None:
    secret, trace = f"secret{secrets.token_hex(6)}", secrets.token_hex(16)
    headers = {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01", "User-Agent": secret}
    new = {"email": f"{secret}@example.com", "password": f"{secret}{secret}", "name": secret}
    await customer.http.post("/users", json=new, headers=headers)
    await customer.http.get(f"/products?q={secret}", headers=headers)
    await customer.http.put(f"/password-resets/{secret}", json={"password": secret * 2}, headers=headers)
    wanted = {"POST /users", "GET /products", "PUT /password-resets/{token}"}

    async def came() -> bool:
        return wanted <= {span.name for span in receiver.of(trace)}

    await eventually(came, within=20)
    assert not [body for body in receiver.bodies if secret.encode() in body]


async def test_what_is_sent_and_processed_is_named_by_the_conventions(
    receiver: Receiver, customer: Customer, staff: Customer
) -> None:
    trace = secrets.token_hex(16)
    sku = await staff.add_product(on_hand=1)
    headers = {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"}
    await customer.http.get(f"/products/{sku}", headers=headers)

    async def came() -> list[Taken]:
        spans = receiver.of(trace)
        assert {"server", "producer", "consumer", "client"} == {span.kind for span in spans}
        return spans

    spans = {span.kind: span for span in await eventually(came, within=20)}
    sent, processed, query = spans["producer"], spans["consumer"], spans["client"]
    topic = sent.name.removeprefix("send ")
    assert sent.attributes["messaging.destination.name"] == f"{FRONT_DOOR}:{topic}"
    assert processed.attributes["messaging.destination.name"] == f"{topic}:catalog.requests"
    assert (sent.attributes["messaging.operation.type"], processed.parent) == ("send", sent.id)
    assert (query.attributes["db.system.name"], query.parent) == ("postgresql", processed.id)
    assert sku not in str(query.attributes)
    told = {str(span.attributes.get("messaging.destination.name")) for span in receiver.spans}
    assert not [name for name in told if "replies" in name]
