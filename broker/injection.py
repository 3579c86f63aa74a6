"""Handlers get what their annotations ask for.

Promise: what can't be given is found out when the service is put together, not when the first message comes.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, get_type_hints

Handler = Callable[..., Awaitable[Any]]


class Attempt(int):
    """How often a message has been tried, this time included."""


def needs(handler: Handler, *, message: bool = True) -> dict[str, Any]:
    """The annotations of a handler's parameters by name, without the first if that is the message.

    Raises TypeError for one without an annotation.
    """
    hints = get_type_hints(handler)
    names = list(inspect.signature(handler).parameters)[int(message) :]
    for name in names:
        if name not in hints:
            raise TypeError(f"{handler.__qualname__}: the parameter {name} needs an annotation")
    return {name: hints[name] for name in names}


def given_by(handler: Handler) -> Any:
    """The type that a function returns. Raises TypeError if it does not say."""
    hints = get_type_hints(handler)
    if "return" not in hints:
        raise TypeError(f"{handler.__qualname__} needs a return annotation")
    return hints["return"]


def check(handler: Handler, wanted: Mapping[str, Any], available: Iterable[Any]) -> None:
    """Raises TypeError if the handler wants something that nobody gives."""
    have = list(available)
    for name, kind in wanted.items():
        if kind not in have:
            raise TypeError(
                f"{handler.__qualname__}: nothing of type {kind} can be given for {name};"
                " give it with service.provide(...)"
            )


def pick(wanted: Mapping[str, Any], available: Mapping[Any, Any]) -> dict[str, Any]:
    """The keyword arguments for a handler."""
    return {name: available[kind] for name, kind in wanted.items()}
