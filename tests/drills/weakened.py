"""`python -m tests.drills.weakened MECHANISM MODULE ...`: run a module of the platform without one of its mechanisms.

Run so, the launcher starts its services so, too. It is how the drill is drilled: without a mechanism it must fail.
"""

import asyncio
import os
import runpy
import secrets
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import aio_pika

from infra.launcher.program import Program
from infra.launcher.state import State
from workers.payments.choosing import DRILL


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
    """Stock is looked at, and taken later; the database does not check it (see `before_the_load`)."""
    from workers.catalog import stock

    stock._LOCK = stock._LOCK.replace("FOR UPDATE", "")
    take = stock._take

    async def take_later(*arguments: Any, **more: Any) -> None:
        await asyncio.sleep(0.02)
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
    "gateway-key": "No money is held",
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


def command(mechanism: str, *module: str) -> tuple[str, ...]:
    """The command line that runs a module without the mechanism."""
    return (sys.executable, "-m", "tests.drills.weakened", mechanism, *module)


def weaken_services(mechanism: str) -> None:
    """Have the launcher start every service without the mechanism."""
    from infra.launcher import services

    strong = services._module

    def weak(state: State, name: str, module: str, environment: dict[str, str]) -> Program:
        program = strong(state, name, module, environment)
        return replace(program, command=command(mechanism, module)) if name in services.BUSINESS else program

    services._module = weak


def main() -> None:
    """Take the mechanism out, and become the module."""
    mechanism, module, *arguments = sys.argv[1:]
    os.environ[DRILL] = mechanism
    if module == "infra.launcher":
        weaken_services(mechanism)
    else:
        MECHANISMS[mechanism]()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
