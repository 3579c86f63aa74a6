"""`python -m tests.drills.witness`: a service that writes down what it hears of orders, each time that it hears it.

Nothing of it is idempotent: whatever reaches its handler twice, or too early, stands there twice, or too early.
"""

from broker.service import Service
from broker.transaction import Transaction
from contracts.base import Event
from contracts.catalog import StockReserved
from contracts.orders import OrderAuthorised, OrderConfirmed, OrderPlaced, OrderRejected, OrderReserved
from contracts.payments import PaymentAuthorised, PaymentCaptured

HEARD = (
    *(OrderPlaced, OrderReserved, OrderAuthorised, OrderConfirmed, OrderRejected),
    *(StockReserved, PaymentAuthorised, PaymentCaptured),
)
_TABLE = "CREATE TABLE IF NOT EXISTS witnessed (id bigserial PRIMARY KEY, topic text, aggregate text)"
service = Service("witness")


@service.at_start
async def make_a_table(tx: Transaction) -> None:
    """Once."""
    await tx.connection.execute(_TABLE)


async def write_down(event: Event, tx: Transaction) -> None:
    """Again and again."""
    await tx.connection.execute(
        "INSERT INTO witnessed (topic, aggregate) VALUES ($1, $2)", event.topic, event.aggregate
    )


for kind in HEARD:
    service.hears(kind)(write_down)

if __name__ == "__main__":
    service.run()
