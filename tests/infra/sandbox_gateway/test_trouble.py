"""The trouble that a script makes for calls: silence and failures, before their effect and after it."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from infra.sandbox_gateway.methods import Method
from infra.sandbox_gateway.trouble import Script, Trouble
from tests.support.sandbox import Sandbox


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with sandbox.client() as client:
        yield client
        await script(client)


async def script(client: httpx.AsyncClient, **shares: float) -> None:
    (await client.put("/v1/trouble", json=shares)).raise_for_status()


async def authorise(client: httpx.AsyncClient, reference: str, key: str) -> httpx.Response:
    body = {"reference": reference, "amount": 1999, "currency": "EUR", "payment_method": "pm_card_visa"}
    return await client.post("/v1/payments", json=body, headers={"Idempotency-Key": key}, timeout=0.5)


@pytest.mark.servers
@pytest.mark.parametrize(("kind", "effect"), [("silent_before", []), ("silent_after", ["authorised"])])
async def test_a_call_may_never_be_answered(
    sandbox: Sandbox, client: httpx.AsyncClient, kind: str, effect: list[str]
) -> None:
    reference = uuid4().hex
    await script(client, **{kind: 1.0})
    with pytest.raises(httpx.ReadTimeout):
        await authorise(client, reference, reference)
    assert sandbox.kinds(reference) == effect
    await script(client)
    assert (await authorise(client, reference, reference)).json()["status"] == "authorised"
    assert sandbox.kinds(reference) == ["authorised"]


@pytest.mark.servers
@pytest.mark.parametrize(("kind", "effect"), [("fails_before", []), ("fails_after", ["authorised"])])
async def test_a_call_may_fail_and_its_failure_is_replayed(
    sandbox: Sandbox, client: httpx.AsyncClient, kind: str, effect: list[str]
) -> None:
    reference = uuid4().hex
    await script(client, **{kind: 1.0})
    assert (await authorise(client, reference, reference)).status_code == 500
    await script(client)
    again = await authorise(client, reference, reference)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (500, "true")
    assert sandbox.kinds(reference) == effect


@pytest.mark.servers
async def test_trouble_is_counted_and_nonsense_refused(client: httpx.AsyncClient) -> None:
    async def met() -> int:
        return int((await client.get("/v1/trouble")).json().get("fails_before", 0))

    before = await met()
    await script(client, fails_before=1.0)
    await authorise(client, uuid4().hex, uuid4().hex)
    assert await met() == before + 1
    for wrong in ({"fails_before": 2}, {"sometimes": 1}):
        assert (await client.put("/v1/trouble", json=wrong)).status_code == 400


def test_the_same_seed_makes_the_same_trouble() -> None:
    def drawn(seed: int) -> list[Any]:
        trouble = Trouble()
        trouble.follow(Script(silent_after=0.3, fails_before=0.3, seed=seed))
        return [trouble.befall(Method()) for _ in range(50)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert {method.silent for method in drawn(1)} == {None, "after"}
    assert {method.fails for method in drawn(1)} == {None, "before"}
