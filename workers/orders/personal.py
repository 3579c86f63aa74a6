"""What tells who a customer is, as it is kept: sealed under the key of the account, or of a guest's order.

Promise: nothing of it is left of an order once that key is destroyed; the order itself, which has no names, stays.
"""

from collections.abc import Collection
from uuid import UUID

from pydantic import Field

from broker.transaction import Transaction
from broker.vault import PersonKey
from contracts.base import Address, Message
from contracts.orders import Order, PlaceOrder
from workers.orders import store
from workers.orders.store import Row

SEALED_AT_ONCE = 100


class Personal(Message):
    """The sealed part of an order."""

    email: str | None = None
    shipping_address: Address | None = None
    billing_address: Address | None = None
    metadata: dict[str, str] = Field(default_factory=dict)


NOTHING = Personal()


def of(said: PlaceOrder | Order) -> Personal:
    """What of it is personal."""
    return Personal.model_validate({name: getattr(said, name) for name in Personal.model_fields})


async def seal(tx: Transaction, row: Row, personal: Personal) -> bytes | None:
    """As it is kept; None where there is nothing to keep, or the customer is erased."""
    if personal == NOTHING:
        return None
    is_guest = row["customer_id"] is None
    key = await (tx.people.add(row["id"]) if is_guest else tx.people.key_or_new(row["customer_id"]))
    return _sealed(key, row, personal)


async def opened(tx: Transaction, row: Row) -> Personal:
    """What is kept of one order."""
    return (await all_opened(tx, [row]))[row["id"]]


async def all_opened(tx: Transaction, rows: Collection[Row]) -> dict[UUID, Personal]:
    """What is kept of these orders, by their ids."""
    keys = await tx.people.keys({_owner(row) for row in rows if row["personal"] is not None})
    return {row["id"]: _opened(keys.get(_owner(row)), row) for row in rows}


async def seal_some(tx: Transaction) -> bool:
    """Seal what the release before this one wrote in the clear, and older instances beside us still do; whether there
    may be more. A release that no such row can meet any more may drop this and the columns."""
    rows = await store.in_the_clear(tx.connection, SEALED_AT_ONCE)
    for row in rows:
        key = await tx.people.key_or_new(_owner(row))
        await store.put_away(tx.connection, row["id"], _sealed(key, row, Personal.model_validate(row)))
    return len(rows) == SEALED_AT_ONCE


def _sealed(key: PersonKey | None, row: Row, personal: Personal) -> bytes | None:
    return None if key is None else key.seal(_place(row), personal.model_dump_json().encode())


def _opened(key: PersonKey | None, row: Row) -> Personal:
    if key is None or row["personal"] is None:
        return NOTHING
    return Personal.model_validate_json(key.open(_place(row), row["personal"]))


def _owner(row: Row) -> UUID:
    owner: UUID = row["customer_id"] or row["id"]
    return owner


def _place(row: Row) -> str:
    return f"orders.personal {row['id']}"
