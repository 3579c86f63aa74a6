"""The OpenAPI document as a page for people.

Promise: one HTML page without scripts and without anything from elsewhere, which its Content-Security-Policy says, too;
whatever a manifest holds is text in it, never markup.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import Any

from edge_api.schemas import Schema

Document = dict[str, Any]
_STYLE = (files("edge_api") / "docs.css").read_text()
_STYLE_HASH = b64encode(sha256(_STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of the page."""
_BOUNDS = {
    "minimum": "at least",
    "maximum": "at most",
    "minLength": "characters at least",
    "maxLength": "characters at most",
    "minItems": "items at least",
    "maxItems": "items at most",
    "maxProperties": "entries at most",
    "pattern": "matches",
    "default": "if absent",
}


def page(document: Document) -> str:
    """The page of a document."""
    info, tags = document["info"], _by_tag(document)
    return "".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(info['title'])}: the API</title><style>{_STYLE}</style></head><body>",
            '<a class="skip" href="#main">To the operations</a>',
            f"<header><h1>{escape(info['title'])}: the API</h1><p>{_prose(info['summary'])}</p>",
            f"<p>{_prose(info['description'])}</p>",
            '<p>For programs: <a href="/openapi.json">OpenAPI 3.1</a>; events and commands: ',
            '<a href="/asyncapi.json">AsyncAPI 3.0</a>.</p></header>',
            f'<nav aria-label="Operations">{"".join(_contents(tags))}</nav>',
            f'<main id="main">{"".join(_operations(document, tags))}{"".join(_schemas(document))}</main>',
            "</body></html>",
        ]
    )


Operation = tuple[str, str, dict[str, Any]]
"""Method, path, and what the document says."""


def _by_tag(document: Document) -> dict[str, list[Operation]]:
    tags: dict[str, list[Operation]] = {}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            for tag in operation["tags"]:
                tags.setdefault(tag, []).append((method.upper(), path, operation))
    return dict(sorted(tags.items()))


def _contents(tags: dict[str, list[Operation]]) -> Iterator[str]:
    for tag, operations in tags.items():
        links = (
            f'<li><a href="#{_id("op", operation["operationId"])}">{_address(method, path)}</a></li>'
            for method, path, operation in operations
        )
        yield f"<h2>{escape(tag)}</h2><ul>{''.join(links)}</ul>"
    yield '<h2><a href="#schemas">Schemas</a></h2>'


def _operations(document: Document, tags: dict[str, list[Operation]]) -> Iterator[str]:
    for tag, operations in tags.items():
        yield f"<section><h2>{escape(tag)}</h2>"
        for method, path, operation in operations:
            name = _id("op", operation["operationId"])
            yield f'<article aria-labelledby="{name}"><h3 id="{name}">{_address(method, path)}</h3>'
            yield f"<p>{_prose(operation['summary'])} {_who(operation)}</p>"
            yield from _parameters(operation)
            yield from _body(operation)
            yield from _responses(document, operation)
            yield "</article>"
        yield "</section>"


def _who(operation: dict[str, Any]) -> str:
    security = operation["security"]
    if {} in security:
        return "For anyone."
    roles = sorted({role for requirement in security for roles in requirement.values() for role in roles})
    return escape(f"Needs an access token of {' or '.join(roles) or 'a user'}.")


def _parameters(operation: dict[str, Any]) -> Iterator[str]:
    rows = [
        (
            f"<code>{escape(parameter['name'])}</code>",
            f"{parameter['in']}, {'required' if parameter['required'] else 'optional'}",
            _type(parameter["schema"]),
            _prose(parameter.get("description", "")),
        )
        for parameter in operation["parameters"]
    ]
    yield from _table("Parameters", ("name", "where", "type", "meaning"), rows)


def _body(operation: dict[str, Any]) -> Iterator[str]:
    body = operation.get("requestBody")
    if body is not None:
        kinds = (f"<code>{escape(kind)}</code>: {_type(of['schema'])}" for kind, of in body["content"].items())
        yield f"<h4>Body</h4><p>{'; '.join(kinds)}{'' if body['required'] else ' (optional)'}</p>"


def _responses(document: Document, operation: dict[str, Any]) -> Iterator[str]:
    rows = []
    for status, said in sorted(operation["responses"].items()):
        response = _resolved(document, said)
        plain = {kind: of for kind, of in response.get("content", {}).items() if kind != "application/problem+json"}
        kinds = (
            _type(of["schema"]) if "schema" in of else f"<code>{escape(kind)}</code>" for kind, of in plain.items()
        )
        rows.append((f"<code>{status}</code>", _prose(response["description"]), "; ".join(kinds)))
    yield from _table("Answers", ("status", "meaning", "content"), rows)


def _schemas(document: Document) -> Iterator[str]:
    yield '<section><h2 id="schemas">Schemas</h2>'
    for name, schema in sorted(document["components"]["schemas"].items()):
        yield f'<article><h3 id="{_id("schema", name)}">{escape(name)}</h3>'
        yield f"<p>{_prose(schema.get('description', ''))}</p>"
        if "properties" in schema:
            yield from _fields(schema)
        else:
            yield f"<p>{_type(schema)}</p>"
        yield "</article>"
    yield "</section>"


def _fields(schema: Schema) -> Iterator[str]:
    required = schema.get("required", ())
    rows = [
        (
            f"<code>{escape(name)}</code>",
            "required" if name in required else "optional",
            _type(of),
            _prose(of.get("description", "") if isinstance(of, dict) else ""),
        )
        for name, of in schema["properties"].items()
    ]
    yield from _table("Fields", ("name", "", "type", "meaning"), rows)


def _table(title: str, columns: Iterable[str], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    if rows:
        head = "".join(f'<th scope="col">{column}</th>' for column in columns)
        lines = ("".join(f"<td>{cell}</td>" for cell in row) for row in rows)
        body = "".join(f"<tr>{line}</tr>" for line in lines)
        yield f'<h4>{title}</h4><div class="wide"><table><thead><tr>{head}</tr></thead>'
        yield f"<tbody>{body}</tbody></table></div>"


def _type(schema: Any) -> str:
    """What a schema allows, in words."""
    if not isinstance(schema, dict):
        return "anything" if schema else "nothing else"
    if "$ref" in schema:
        name = str(schema["$ref"]).rsplit("/", 1)[-1]
        return f'<a href="#{_id("schema", name)}">{escape(name)}</a>'
    for key, word in (("anyOf", " or "), ("oneOf", " or "), ("allOf", " and ")):
        if key in schema:
            return word.join(map(_type, schema[key]))
    if "enum" in schema or "const" in schema:
        return " or ".join(f"<code>{escape(str(value))}</code>" for value in schema.get("enum", [schema.get("const")]))
    return f"{_shape(schema)}{_bounds(schema)}"


def _shape(schema: Schema) -> str:
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {_type(schema.get('items', True))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"map to {_type(schema['additionalProperties'])}"
    if "properties" in schema:
        fields = (f"<code>{escape(name)}</code>: {_type(of)}" for name, of in schema["properties"].items())
        return f"object ({', '.join(fields)})"
    return escape(str(schema.get("format", " or ".join(kind) if isinstance(kind, list) else kind)))


def _bounds(schema: Schema) -> str:
    said = [f"{words} <code>{escape(str(schema[key]))}</code>" for key, words in _BOUNDS.items() if key in schema]
    return f" ({', '.join(said)})" if said else ""


def _address(method: str, path: str) -> str:
    return f'<span class="method">{escape(method)}</span> <code>{escape(path)}</code>'


def _prose(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _id(kind: str, name: str) -> str:
    return f"{kind}-{re.sub(r'[^A-Za-z0-9._-]', '_', name)}"


def _resolved(document: Document, node: dict[str, Any]) -> dict[str, Any]:
    reference = node.get("$ref")
    if reference is None:
        return node
    found: dict[str, Any] = document["components"]["responses"][reference.rsplit("/", 1)[-1]]
    return found
