"""The whole platform, as `up` starts it when it is told of Stripe."""

from collections.abc import Iterator

import pytest

from tests.support.customer import customer_of, staff_of
from tests.support.eventually import eventually
from tests.support.localstripe import KEY, LocalStripe, running_localstripe
from tests.support.platform import Platform, on_shared_servers
from tests.support.servers import RealServers

SECRET = "whsec_of_localstripe"


@pytest.fixture(scope="module")
def stripe() -> Iterator[LocalStripe]:
    with running_localstripe() as server:
        yield server


@pytest.fixture(scope="module")
def platform(servers: RealServers, stripe: LocalStripe, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    settings = {
        "HEDGEROW_GATEWAY": "stripe",
        "HEDGEROW_GATEWAY_URL": stripe.url,
        "HEDGEROW_GATEWAY_KEY": KEY,
        "HEDGEROW_GATEWAY_WEBHOOK_SECRET": SECRET,
    }
    with on_shared_servers(servers, tmp_path_factory.mktemp("at-stripe"), settings=settings) as it:
        yield it


async def test_an_order_is_paid_and_its_webhook_taken(platform: Platform, stripe: LocalStripe) -> None:
    await stripe.tell(f"{platform.edge}/gateway-webhooks/stripe", SECRET)
    async with staff_of(platform) as staff, customer_of(platform) as customer:
        sku = await staff.add_product(on_hand=5)
        order = await customer.settled(await customer.order(sku, 2))
        assert order["status"] == "confirmed"
        assert [intent["status"] for intent in await stripe.intents(order["id"])] == ["succeeded"]
        declined = await customer.settled(await customer.order(sku, 2, card="pm_card_chargeCustomerFail"))
        assert (declined["status"], declined["reason"]) == ("rejected", "payment-declined")

    async def is_taken() -> bool:
        route = "/gateway-webhooks/{gateway}"
        return any(
            line.get("route") == route and line["http.response.status_code"] == 204 for line in platform.log("edge")
        )

    await eventually(is_taken)


def test_no_other_gateway_runs_and_no_file_holds_the_key(platform: Platform) -> None:
    assert "gateway" not in platform.pids
    files = [path for path in platform.state.folder.rglob("*") if path.is_file()]
    assert files
    assert [path.name for path in files if KEY.encode() in path.read_bytes()] == []
