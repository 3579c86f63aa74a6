"""A way through the whole API that keeps what was answered, to be compared with what the document says."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import httpx

from tests.support.customer import Customer

PROBLEM = "application/problem+json"
METHODS = {"get", "post", "put", "patch", "delete"}
NOTHING: Mapping[str, str] = MappingProxyType({})
Told = tuple[str, str]
"""An operation, and what it answered: a status, or a status and the slug of a problem."""


class Walk:
    """Asks operations by their ids. `seen` is what was answered, `documented` what may be, of these services."""

    def __init__(self, document: dict[str, Any], services: set[str]) -> None:
        self._document = document
        self.operations = {
            operation["operationId"]: (method.upper(), path, operation)
            for path, item in document["paths"].items()
            for method, operation in item.items()
            if method in METHODS and services.intersection(operation["tags"])
        }
        self.documented = {(name, answer) for name in self.operations for answer in self.answers(name)}
        self.seen: set[Told] = set()

    def answers(self, name: str) -> set[str]:
        """What an operation may answer."""
        responses = self.operations[name][2]["responses"]
        return {answer for status, response in responses.items() for answer in self._answers(status, response)}

    async def ask(
        self,
        who: Customer,
        name: str,
        json: Any = None,
        *,
        query: str = "",
        at: Mapping[str, str] = NOTHING,
        **how: Any,
    ) -> httpx.Response:
        """Ask; `at` are the fields of the path, `how` is what httpx takes."""
        method, path, _ = self.operations[name]
        url = path.format(**at) + (f"?{query}" if query else "")
        answer = await who.http.request(method, url, json=json, **how)
        self.seen.add((name, _told(answer)))
        return answer

    async def take(self, who: Customer, name: str, json: Any = None, **how: Any) -> Any:
        """What a success says."""
        answer = await self.ask(who, name, json, **how)
        assert answer.is_success, f"{name} said {answer.status_code}: {answer.text}"
        return answer.json() if answer.content else None

    def _answers(self, status: str, response: dict[str, Any]) -> list[str]:
        shared = response.get("$ref", "").rpartition("/")[2]
        content = (self._document["components"]["responses"][shared] if shared else response).get("content", {})
        if PROBLEM not in content:
            return [status]
        narrowed = content[PROBLEM]["schema"]["allOf"][1]
        return [f"{status} {kind.rpartition('/')[2]}" for kind in narrowed["properties"]["type"]["enum"]]


def _told(answer: httpx.Response) -> str:
    if answer.headers.get("content-type") != PROBLEM:
        return str(answer.status_code)
    return f"{answer.status_code} {answer.json()['type'].rpartition('/')[2]}"
