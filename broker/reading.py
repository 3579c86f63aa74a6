"""Reading a request: from bytes and text to an operation, or to a refusal that says where it is wrong.

Promise: JSON is read strictly ("2" is no number), fields that came as text (path, query string) are converted; unknown
fields, NUL characters, half characters and nesting without end are refused; nothing a client sends raises.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from broker.lane import Request
from contracts.base import FieldError, Operation, Refusal, invalid_request, malformed_json

_CONTAINERS = (tuple, list, set, frozenset)


def read(operation: type[Operation[Any]], request: Request) -> Operation[Any] | Refusal:
    """The operation that was asked for, or why it can't be read."""
    for name, text in request.params.items():
        if not (_is_unicode(name) and _is_unicode(text)):
            return _wrong_text("is not valid Unicode", (name,) if _is_unicode(name) else ())
    try:
        if request.params and request.body in (b"", b"{}"):
            asked = operation.model_validate_strings(dict(request.params))
        else:
            body = _merged(operation, request) if request.params else request.body or b"{}"
            asked = operation.model_validate_json(body, strict=True)
    except ValidationError as error:
        return _refusal(error)
    except _NotAnObjectError:
        return invalid_request("The body must be a JSON object.", FieldError(pointer="", detail="must be an object"))
    except ValueError as error:
        return malformed_json(f"The body is not JSON: {error}"[:300])
    if b"\\u0000" in request.body or (request.params and "\0" in "".join(request.params.values())):
        where = _nul(asked.model_dump())
        if where is not None:
            return _wrong_text("has a NUL character", where)
    return asked


class _NotAnObjectError(Exception):
    """The body is JSON, but no object."""


def _merged(operation: type[Operation[Any]], request: Request) -> bytes:
    """One JSON object of the body's fields and those that came as text. Raises ValueError, ValidationError."""
    fields = from_json(request.body, allow_inf_nan=False)
    if not isinstance(fields, dict):
        raise _NotAnObjectError
    errors: list[Any] = []
    for name, text in request.params.items():
        if name in fields or name not in operation.model_fields:
            errors.append({"type": "extra_forbidden", "loc": (name,), "input": text})
            continue
        try:
            fields[name] = _text_adapter(operation, name).validate_strings(text)
        except ValidationError as error:
            errors += [
                {"type": "value_error", "loc": (name,), "input": text, "ctx": {"error": error.errors()[0]["msg"]}}
            ]
    if errors:
        raise ValidationError.from_exception_data(operation.__name__, errors)
    return to_json(fields)


@cache
def _text_adapter(operation: type[Operation[Any]], name: str) -> TypeAdapter[Any]:
    field = operation.model_fields[name]
    return TypeAdapter(field.rebuild_annotation())


def _refusal(error: ValidationError) -> Refusal:
    details = error.errors(include_url=False, include_context=False)
    if details[0]["type"] == "json_invalid":
        return malformed_json(details[0]["msg"])
    # Without its wrong elements a list seems too short, too: that would only confuse.
    inside = {detail["loc"][:depth] for detail in details for depth in range(1, len(detail["loc"]))}
    told = [detail for detail in details if not (detail["type"] == "too_short" and detail["loc"] in inside)]
    errors = (FieldError(pointer=_pointer(detail["loc"]), detail=detail["msg"]) for detail in told[:20])
    return invalid_request("", *errors)


def _wrong_text(what: str, where: Sequence[int | str]) -> Refusal:
    pointer = _pointer(where)
    return invalid_request(f"{pointer or 'A name'} {what}.", FieldError(pointer=pointer, detail=what))


def _pointer(where: Sequence[int | str]) -> str:
    """RFC 6901."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in where)


def _is_unicode(text: str) -> bool:
    """False for half of a surrogate pair: it can neither be stored nor sent back."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _nul(value: Any, where: tuple[int | str, ...] = ()) -> tuple[int | str, ...] | None:
    """Where the first NUL is; a name that has one counts for what it names the part of."""
    if isinstance(value, str):
        return where if "\0" in value else None
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, _CONTAINERS) else ()
    for name, part in pairs:
        found = where if isinstance(name, str) and "\0" in name else _nul(part, (*where, name))
        if found is not None:
            return found
    return None
