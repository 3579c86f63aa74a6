"""How a payment at the gateway may differ from our row of its order."""

from dataclasses import replace

import pytest

from broker.ids import new_id
from contracts.base import Money
from workers.payments.gateway import Holding, Outcome
from workers.payments.reconciling import compare
from workers.payments.rules import Payment, Refund

PRICE = Money(amount=1999, currency="EUR")
ORDER = new_id()
HELD = Holding(
    gateway_id="pay_1",
    reference=ORDER,
    amount=PRICE,
    refunded=0,
    outcome=Outcome(status="authorised", gateway_id="pay_1"),
)
TAKEN = replace(HELD, outcome=Outcome(status="captured", gateway_id="pay_1", captured=1999))
GIVEN_BACK = replace(TAKEN, refunded=1999)
OURS = Payment(order_id=ORDER, status="authorised", amount=PRICE, gateway_id="pay_1")
BACK = Refund(refund_id=new_id(), amount=1999, status="refunded")


@pytest.mark.parametrize(
    ("holding", "ours", "found"),
    [
        (HELD, OURS, None),
        (HELD, replace(OURS, status="failed"), None),
        (HELD, replace(OURS, status="unknown"), None),
        (HELD, replace(OURS, status="voided"), "differs"),
        (HELD, replace(OURS, status="voided", gateway_id=None), "differs"),
        (HELD, None, "hold-without-order"),
        (HELD, replace(OURS, gateway_id="pay_2"), "held-twice"),
        (TAKEN, replace(OURS, status="captured", captured=1999), None),
        (TAKEN, OURS, "differs"),
        (TAKEN, None, "paid-without-order"),
        (TAKEN, replace(OURS, gateway_id="pay_2"), "captured-twice"),
        (GIVEN_BACK, None, None),
        (GIVEN_BACK, replace(OURS, gateway_id="pay_2"), None),
        (GIVEN_BACK, replace(OURS, status="captured", captured=1999, refunds=(BACK,)), None),
        (GIVEN_BACK, replace(OURS, status="captured", captured=1999), "differs"),
        (replace(HELD, outcome=Outcome(status="voided", gateway_id="pay_1")), None, None),
    ],
)
def test_what_differs_has_a_name(holding: Holding, ours: Payment | None, found: str | None) -> None:
    assert compare(holding, ours) == found
