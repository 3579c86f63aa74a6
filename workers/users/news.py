"""What mails say of an order.

Promise: pure; whom a mail is for and what it says follow from the event, the order as it is now, and the customer.
"""

from dataclasses import dataclass

from contracts.base import Money
from contracts.orders import Order, OrderConfirmed, OrderRefunded, OrderShipped

News = OrderConfirmed | OrderShipped | OrderRefunded
KINDS: dict[str, type[News]] = {kind.topic: kind for kind in (OrderConfirmed, OrderShipped, OrderRefunded)}
# ISO 4217: how many digits of an amount in minor units are behind the point, where they are not two.
_WITHOUT_CENTS = (
    "BIF",
    "CLP",
    "DJF",
    "GNF",
    "ISK",
    "JPY",
    "KMF",
    "KRW",
    "PYG",
    "RWF",
    "UGX",
    "VND",
    "VUV",
    "XAF",
    "XOF",
    "XPF",
)
_WITH_MILS = ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND")
_DIGITS = {**dict.fromkeys(_WITHOUT_CENTS, 0), **dict.fromkeys(_WITH_MILS, 3)}


@dataclass(frozen=True)
class Written:
    """A subject and a text."""

    subject: str
    text: str


def about(news: News, order: Order, *, name: str | None) -> Written:
    """The mail for a customer of this name, or for a guest."""
    match news:
        case OrderConfirmed():
            lines = "".join(f"\n    {line.quantity} x {line.name}: {price(line.gross)}" for line in order.lines)
            subject, said = (
                f"Your order {order.number}",
                f"thank you for your order:\n{lines}\n\nTotal: {price(order.total)}",
            )
        case OrderShipped():
            parcel = next((parcel for parcel in order.shipments if parcel.id == news.shipment_id), None)
            where = f" with {parcel.carrier}, tracking number {parcel.tracking}" if parcel else ""
            subject, said = f"A parcel of your order {order.number}", f"a parcel is on its way to you{where}."
        case OrderRefunded():
            subject, said = f"Refund for your order {order.number}", f"you get {price(news.amount)} back."
    return Written(subject, f"Hello{f' {name}' if name else ''},\n\n{said}\n")


def price(money: Money) -> str:
    """An amount as people write it: 19.99 EUR."""
    digits = _DIGITS.get(money.currency, 2)
    return f"{money.amount / 10**digits:.{digits}f} {money.currency}"
