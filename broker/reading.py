"""Reading a request: from bytes and text to an operation, or to a refusal that says where it is wrong.

Promise: JSON is read strictly ("2" is no number), fields that came as text (path, query string) are converted, unknown fields, NUL
characters and nesting without end are refused; nothing a client sends raises.
"""

from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, from_json, to_json

from broker.lane import Request
from contracts.base import FieldError, Operation, Refusal, invalid_request, malformed_json


def read(operation: type[Operation[Any]], request: Request) -> Operation[Any] | Refusal:
    """The operation that was asked for, or why it can't be read."""
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
    if b"\\u0000" in request.body or any("\0" in text for text in request.params.values()):
        where = _nul(asked.model_dump())
        if where is not None:
            return invalid_request("NUL characters are not allowed.", FieldError(pointer=where, detail="has a NUL"))
    return asked


class _NotAnObjectError(Exception):
    """The body is JSON, but no object."""


def _merged(operation: type[Operation[Any]], request: Request) -> bytes:
    """One JSON object of the body's fields and those that came as text. Raises ValueError, ValidationError."""
    fields = from_json(request.body)
    if not isinstance(fields, dict):
        raise _NotAnObjectError
    errors: list[Any] = []
    for name, text in request.params.items():
        if name in fields:
            errors.append({"type": "extra_forbidden", "loc": (name,), "input": fields[name]})
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
    return invalid_request("", *(FieldError(pointer=_pointer(detail), detail=detail["msg"]) for detail in details[:20]))


def _pointer(detail: ErrorDetails) -> str:
    """RFC 6901."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in detail["loc"])


def _nul(value: Any, where: str = "") -> str | None:
    if isinstance(value, str):
        return where if "\0" in value else None
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, tuple | list) else ()
    for name, part in pairs:
        found = "" if isinstance(name, str) and "\0" in name else _nul(part, f"{where}/{name}")
        if found is not None:
            return found
    return None
