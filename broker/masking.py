"""What may be said of messages where anybody can read it.

Promise: what a contract marks as personal is masked wherever its message turns up, however deep; an address for mails
is masked in any text.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, get_args, get_origin

from contracts.base import PERSONAL, Message

MASK = "***"
_EMAIL = re.compile(r"[^@\s\"<>(),;:=/]{1,64}@[^@\s'\"<>(),;:=/]{1,190}\.[^@\s.'\"<>(),;:=/]{1,60}")


def masked(value: Any) -> Any:
    """The value without what is personal: messages become dicts."""
    if isinstance(value, str):
        return _EMAIL.sub(MASK, value) if "@" in value else value
    if isinstance(value, Message):
        personal = personal_fields(type(value))
        return {name: MASK if name in personal else masked(it) for name, it in value if it is not None}
    if isinstance(value, Mapping):
        return {masked(key): masked(it) for key, it in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [masked(it) for it in value]
    return value


@cache
def personal_fields(kind: type[Message]) -> frozenset[str]:
    """The fields whose types are marked."""
    return frozenset(
        name
        for name, field in kind.model_fields.items()
        if PERSONAL in field.metadata or _is_personal(field.annotation)
    )


def _is_personal(annotation: Any) -> bool:
    if get_origin(annotation) is Annotated and PERSONAL in annotation.__metadata__:
        return True
    return any(map(_is_personal, get_args(annotation)))
