"""What is asked of the gateway before a command's transaction opens.

Promise: each of these may run again after any crash, retry or duplicate and still has one effect: every write carries a
key made of the order's id, and after an outcome that is not known the gateway is asked what it has before anything is
tried again.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import UUID

from broker.injection import Attempt
from broker.topology import TIERS
from contracts.payments import AuthorisePayment, CapturePayment, VoidPayment
from workers.payments.gateway import Gateway, GatewayUnknown, KeySpent, Outcome
from workers.payments.rules import TooEarly

LAST_ATTEMPT = len(TIERS) + 1
_KEYS_TRIED = 5


async def hold_money(command: AuthorisePayment, gateway: Gateway, attempt: Attempt) -> Outcome:
    """Ask for the money. The last attempt only looks, so that no outcome is left unknown behind it."""
    reference = str(command.order_id)
    seen = await gateway.find(reference) if attempt > 1 else Outcome()
    if seen.status == "nothing" and attempt < LAST_ATTEMPT:

        async def hold(key: str) -> Outcome:
            return await gateway.authorise(reference, command.amount, command.payment_method, key=key)

        seen = await _with_a_key(gateway, command.order_id, "authorise", seen, hold)
    if seen.status == "requires_action":
        return await _give_up(gateway, command.order_id, seen)
    return seen


async def take_money(command: CapturePayment, gateway: Gateway, attempt: Attempt) -> Outcome:
    """Take what the gateway holds for the order. Raises `TooEarly` where it holds nothing yet: by the time that this is
    recorded, the authorisation could be, too, and the payment would count as failed."""
    seen = await gateway.find(str(command.order_id))
    if seen.status == "nothing" and attempt < LAST_ATTEMPT:
        raise TooEarly(f"the gateway has nothing of order {command.order_id} yet")
    if seen.status != "authorised":
        return seen
    return await _with_a_key(
        gateway, command.order_id, "capture", seen, lambda key: gateway.capture(seen.gateway_id, key=key)
    )


async def let_go(command: VoidPayment, gateway: Gateway) -> Outcome:
    """Let go of what the gateway holds for the order, if any."""
    seen = await gateway.find(str(command.order_id))
    return await _void(gateway, command.order_id, seen) if seen.status in ("authorised", "requires_action") else seen


async def _give_up(gateway: Gateway, order_id: UUID, seen: Outcome) -> Outcome:
    return replace(await _void(gateway, order_id, seen), code="authentication_required")


async def _void(gateway: Gateway, order_id: UUID, seen: Outcome) -> Outcome:
    return await _with_a_key(gateway, order_id, "void", seen, lambda key: gateway.void(seen.gateway_id, key=key))


async def _with_a_key(
    gateway: Gateway, order_id: UUID, effect: str, before: Outcome, write: Callable[[str], Awaitable[Outcome]]
) -> Outcome:
    """Write with the order's key for this effect; with its next key where the gateway kept a failure without effect."""
    for number in range(1, _KEYS_TRIED + 1):
        key = f"{order_id}:{effect}" if number == 1 else f"{order_id}:{effect}:{number}"
        try:
            return await write(key)
        except KeySpent:
            seen = await gateway.find(str(order_id))
            if seen.status != before.status:
                return seen
    raise GatewayUnknown(f"the gateway failed {_KEYS_TRIED} times to {effect} order {order_id}")
