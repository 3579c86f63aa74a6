"""What is asked of the gateway, outside of every transaction.

Promise: each of these may run again after any crash, retry or duplicate, and beside any other, and still has one
effect: every write carries a key made of what it is for, and a new key is used only where the gateway keeps a failure
for the old one and has been seen to have had no effect. An outcome that is not known is a step without an outcome.
"""

from collections.abc import Awaitable, Callable

from broker.injection import Attempt
from broker.reader import Reader
from broker.telemetry import log
from contracts.payments import AuthorisePayment, CapturePayment, RefundPayment, VoidPayment
from workers.payments import store
from workers.payments.gateway import Gateway, GatewayUnknown, KeySpent, Outcome
from workers.payments.rules import (
    Act,
    Authorise,
    Capture,
    GiveBack,
    Look,
    Payment,
    Step,
    Void,
    learn,
    next_act,
    want,
)

_KEYS_TRIED = 5
Steps = tuple[Step, ...]


async def hold_money(command: AuthorisePayment, gateway: Gateway, reader: Reader, attempt: Attempt) -> Steps:
    """Ask for the money, unless our own row says that nobody wants it any more: a copy of the command may come when all
    is over. Look where somebody has asked before."""
    known = await store.find(reader, command.order_id)
    return await pursue(gateway, want(known, command), look=attempt > 1 or known.status == "unknown")


async def do_what_is_wanted(
    command: CapturePayment | VoidPayment | RefundPayment, gateway: Gateway, reader: Reader, attempt: Attempt
) -> Steps:
    """Take, let go or give back what our own row says that the gateway has; look where it does not say."""
    known = await store.find(reader, command.order_id)
    look = attempt > 1 or known.status in ("pending", "unknown")
    return await pursue(gateway, want(known, command), look=look)


async def pursue(gateway: Gateway, payment: Payment, *, look: bool) -> Steps:
    """Bring a payment as near to its goal as it gets without asking for the same thing twice. Raises GatewayRefusal."""
    steps: list[Step] = []
    act: Act | None = Look() if look else next_act(payment)
    while act is not None and type(act) not in {type(step.act) for step in steps}:
        step = Step(act, await _outcome(gateway, payment, act))
        steps.append(step)
        if step.outcome is None:
            break
        payment = learn(payment, step)
        act = next_act(payment)
    return tuple(steps)


async def _outcome(gateway: Gateway, payment: Payment, act: Act) -> Outcome | None:
    try:
        return await _ask(gateway, payment, act)
    except GatewayUnknown as error:
        log.warning("the outcome at the gateway is not known", order_id=str(payment.order_id), error=error)
        return None


async def _ask(gateway: Gateway, payment: Payment, act: Act) -> Outcome:
    reference, gateway_id = str(payment.order_id), payment.gateway_id or ""

    async def authorise(key: str) -> Outcome:
        assert payment.amount is not None  # noqa: S101 - an authorisation is due only where its amount is known
        return await gateway.authorise(reference, payment.amount, payment.method or "", key=key)

    match act:
        case Look():
            return await gateway.find(reference, gateway_id=payment.gateway_id)
        case Authorise():
            return await _once(gateway, payment, "authorise", authorise, lambda seen: seen.status != "nothing")
        case Capture():
            return await _once(
                gateway,
                payment,
                "capture",
                lambda key: gateway.capture(gateway_id, key=key),
                lambda seen: seen.status != "authorised",
            )
        case Void():
            return await _once(
                gateway,
                payment,
                "void",
                lambda key: gateway.void(gateway_id, key=key),
                lambda seen: seen.status not in ("authorised", "requires_action"),
            )
        case GiveBack(refund_id, amount):
            return await _once(
                gateway,
                payment,
                f"refund:{refund_id}",
                lambda key: gateway.refund(gateway_id, amount, refund_id, key=key),
                lambda seen: refund_id in seen.refunds,
            )


async def _once(
    gateway: Gateway,
    payment: Payment,
    effect: str,
    write: Callable[[str], Awaitable[Outcome]],
    is_done: Callable[[Outcome], bool],
) -> Outcome:
    """Write with the order's key for this effect; with its next key where the gateway kept a failure without effect."""
    reference = str(payment.order_id)
    for number in range(1, _KEYS_TRIED + 1):
        key = f"{reference}:{effect}" if number == 1 else f"{reference}:{effect}:{number}"
        try:
            return await write(key)
        except KeySpent:
            seen = await gateway.find(reference, gateway_id=payment.gateway_id)
            if is_done(seen):
                return seen
    raise GatewayUnknown(f"the gateway failed {_KEYS_TRIED} times: {reference}:{effect}")
