"""The documents of what can be asked and what is said, for programs and for people.

Promise: each is made once for a generation of the registry, when somebody first asks for it.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from contracts.published import sayings
from edge_api import asyncapi, docs_page, openapi
from edge_api.platform_paths import ASYNCAPI, DOCS, OPENAPI
from edge_api.responses import Header, Response
from edge_api.routing import Routes

_POLICY: Header = (b"content-security-policy", docs_page.POLICY.encode())


class Documents:
    """The documents of these routes."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._generation = -1
        self._made: dict[str, Response] = {}

    def at(self, path: str) -> Response:
        """The document that stands at this path."""
        if self._generation != self._routes.registry.generation:
            self._generation = self._routes.registry.generation
            self._made.clear()
        if path not in self._made:
            self._made[path] = _MAKERS[path](self._routes)
        return self._made[path]


def _openapi(routes: Routes) -> Response:
    return _json(openapi.document(routes.table.targets))


def _asyncapi(routes: Routes) -> Response:
    manifests = [record.manifest for record in routes.registry.services.values()]
    return _json(asyncapi.document(manifests, sayings()))


def _page(routes: Routes) -> Response:
    page = docs_page.page(openapi.document(routes.table.targets))
    return Response(200, page.encode(), b"text/html; charset=utf-8", (_POLICY,))


def _json(document: Mapping[str, Any]) -> Response:
    return Response(200, json.dumps(document).encode())


_MAKERS: dict[str, Callable[[Routes], Response]] = {OPENAPI: _openapi, ASYNCAPI: _asyncapi, DOCS: _page}
