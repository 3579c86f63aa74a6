"""Named points at which a process ends itself, as `kill -9` would, when somebody has asked for it.

Promise: asked for by a file that the process takes away as it ends, so that it ends there once; where nobody asked, it
only looks. They are put around the functions of the platform from here: no line of it knows of them.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import aio_pika
import asyncpg

from broker import inbox, topology
from broker.lane.wire import publisher, responder
from infra.launcher.program import STATE_MARK

POINTS: dict[str, tuple[str, ...]] = {
    f"{when}-{what}": services
    for what, services in {
        "claim": ("orders", "catalog", "payments"),
        "publish": ("orders", "catalog", "payments"),
        "confirm": ("orders", "catalog", "payments"),
        "mark": ("orders", "catalog", "payments"),
        "commit": ("orders", "catalog", "payments"),
        "acknowledge": ("orders", "catalog", "payments"),
        "reply": ("orders", "catalog"),
        "gateway-call": ("payments",),
    }.items()
    for when in ("before", "after")
}
"""The points, and the services that come past them under the load of a drill."""
_ON_ITS_WAY = 0.001
"""What was written has left the process after so many seconds."""
_DURABLE = {topology.EVENTS, topology.COMMANDS, topology.RETURNS}
_service = ""
Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")


def place(state: Path, point: str, service: str) -> Path:
    """The file that asks a service of the platform with this state folder to end itself at a point."""
    return state / "crashes" / f"{point}.{service}"


def install(service: str) -> None:
    """Put the points into this process."""
    global _service
    _service = service
    inbox.claim = _around("claim", inbox.claim)
    asyncpg.Connection.execute = _around_statements(asyncpg.Connection.execute)  # type: ignore[method-assign]
    aio_pika.IncomingMessage.ack = _around("acknowledge", aio_pika.IncomingMessage.ack, leaves=True)  # type: ignore[method-assign]
    responder._Consuming._reply = _around("reply", responder._Consuming._reply, leaves=True)  # type: ignore[method-assign]
    _around_publishing()
    if service == "payments":
        _around_the_gateway()


def _is_asked(point: str) -> bool:
    try:
        place(Path(os.environ[STATE_MARK]), point, _service).unlink()
    except OSError:
        return False
    return True


def _reach(point: str) -> None:
    if _is_asked(point):
        _die()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _around(
    what: str, function: Callable[Asked, Coroutine[Any, Any, Answer]], *, leaves: bool = False
) -> Callable[Asked, Coroutine[Any, Any, Answer]]:
    """Before the call and after it, which for what `leaves` is when it is on its way and nothing came after it."""

    async def around(*arguments: Asked.args, **named: Asked.kwargs) -> Answer:
        _reach(f"before-{what}")
        answer = await function(*arguments, **named)
        if _is_asked(f"after-{what}"):
            await asyncio.sleep(_ON_ITS_WAY if leaves else 0)
            _die()
        return answer

    return around


def _around_statements(execute: Callable[..., Coroutine[Any, Any, str]]) -> Callable[..., Coroutine[Any, Any, str]]:
    commit, mark = _around("commit", execute), _around("mark", execute)

    async def around(connection: Any, statement: str, *arguments: Any, **named: Any) -> str:
        if statement == "COMMIT":
            return await commit(connection, statement, *arguments, **named)
        if statement.startswith("DELETE FROM outbox"):
            return await mark(connection, statement, *arguments, **named)
        return await execute(connection, statement, *arguments, **named)

    return around


def _around_publishing() -> None:
    """Only what comes from an outbox counts, not heartbeats."""
    publish, confirmed = publisher._Confirming.publish, publisher._Confirming._confirmed
    under_way: WeakKeyDictionary[publisher._Confirming, set[int]] = WeakKeyDictionary()

    def around_publish(self: publisher._Confirming, exchange: str, *arguments: Any, **named: Any) -> Any:
        if exchange not in _DURABLE:
            return publish(self, exchange, *arguments, **named)
        _reach("before-publish")
        taken = publish(self, exchange, *arguments, **named)
        under_way.setdefault(self, set()).add(self._last)
        if _is_asked("after-publish"):
            asyncio.get_running_loop().call_later(_ON_ITS_WAY, _die)
        return taken

    def around_confirm(self: publisher._Confirming, tag: int, multiple: bool, taken: bool) -> None:
        waiting = under_way.get(self, set())
        ours = {sent for sent in waiting if sent == tag or (multiple and sent < tag)}
        if ours:
            _reach("before-confirm")
        confirmed(self, tag, multiple, taken)
        waiting -= ours
        if ours:
            _reach("after-confirm")

    publisher._Confirming.publish = around_publish  # type: ignore[method-assign]
    publisher._Confirming._confirmed = around_confirm  # type: ignore[method-assign]


def _around_the_gateway() -> None:
    """Only what may move money counts."""
    from workers.payments.sandbox import SandboxGateway

    ask = SandboxGateway._ask
    write = _around("gateway-call", ask)

    async def around(self: SandboxGateway, method: str, path: str, **request: Any) -> tuple[int, bytes]:
        return await (write if method == "POST" else ask)(self, method, path, **request)

    SandboxGateway._ask = around  # type: ignore[method-assign]
