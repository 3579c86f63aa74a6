"""The platform without one of its mechanisms. It is how the drill is drilled: without a mechanism it must fail."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

import aio_pika


def without_inbox() -> None:
    """A duplicate has its effect again."""
    from broker import inbox

    claim = inbox.claim

    async def always_ours(*arguments: Any) -> inbox.Claim:
        claimed = await claim(*arguments)
        return inbox.Claim.OURS if claimed is inbox.Claim.DUPLICATE else claimed

    inbox.claim = always_ours  # type: ignore[assignment]


def without_sequence() -> None:
    """Nothing waits for its predecessor."""
    from broker import inbox

    inbox.predecessor = lambda message, joined: 0


def without_gateway_key() -> None:
    """Every write to the gateway has a key of its own."""
    from workers.payments.sandbox import SandboxGateway

    ask = SandboxGateway._ask

    async def keyless(self: SandboxGateway, method: str, path: str, **request: Any) -> tuple[int, bytes]:
        if "headers" in request:
            request["headers"] = {**request["headers"], "Idempotency-Key": secrets.token_hex(8)}
        return await ask(self, method, path, **request)

    SandboxGateway._ask = keyless  # type: ignore[method-assign]


def without_atomic_reservation() -> None:
    """Stock is looked at, and taken later; the database does not check it (see `BEFORE_THE_LOAD`)."""
    from workers.catalog import stock

    stock._LOCK = stock._LOCK.replace("FOR UPDATE", "")
    take = stock._take

    async def take_later(*arguments: Any, **more: Any) -> None:
        await asyncio.sleep(0.3)  # so that others look meanwhile, on a slow machine, too
        await take(*arguments, **more)

    stock._take = take_later


def without_acknowledging_after_commit() -> None:
    """A message is acknowledged before it is settled."""
    from broker.settling import Settlement

    settle = Settlement.settle

    async def acknowledge_first(self: Settlement, listener: Any, raw: aio_pika.abc.AbstractIncomingMessage) -> None:
        await raw.ack()
        await asyncio.sleep(0.02)
        await settle(self, listener, raw)

    Settlement.settle = acknowledge_first  # type: ignore[method-assign]


PROTECTS = {
    "inbox": "Every message had one effect",
    "sequence": "A service that hears the events of an aggregate",
    "gateway-key": "The money of an order is held",
    "atomic-reservation": "Nothing was oversold",
    "acknowledge-after-commit": "Every order has ended",
}
"""The invariant that a drill without the mechanism must find broken, by its first words."""
MECHANISMS: dict[str, Callable[[], None]] = {
    "inbox": without_inbox,
    "sequence": without_sequence,
    "gateway-key": without_gateway_key,
    "atomic-reservation": without_atomic_reservation,
    "acknowledge-after-commit": without_acknowledging_after_commit,
}
BEFORE_THE_LOAD = {
    "atomic-reservation": """
        DO $$ DECLARE name text; BEGIN
            FOR name IN SELECT conname FROM pg_constraint WHERE conrelid = 'catalog.stock'::regclass AND contype = 'c'
            LOOP EXECUTE format('ALTER TABLE catalog.stock DROP CONSTRAINT %I', name); END LOOP;
        END $$
    """
}
"""What the administrator does to the database, where the mechanism is in there, too."""
