"""What schemathesis loads: who it is, and how strictly it reads the document.

Promise: it is staff, but a customer of its own where it changes or ends what belongs to the caller, so that the first
staff user is as before afterwards; a field of an answer that the document does not name is a failure.
"""

import os
import secrets
from typing import Any

import httpx
import schemathesis
from schemathesis import AuthContext, Case, HookContext

from infra.pinning import pinned
from tests.system.fuzzing.command import CERTIFICATE, EDGE, EMAIL, PASSWORD

_THE_CALLER_S = r"^/(users/me|sessions)\b"


class Bearer:
    """Its token is used until it is refused."""

    def set(self, case: Case[Any], data: str, context: AuthContext) -> None:
        """Add the token to a request."""
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.auth().skip_for(path_regex=_THE_CALLER_S)
class Staff(Bearer):
    """The first staff user."""

    def get(self, case: Case[Any], context: AuthContext) -> str:
        """A fresh token."""
        return _token(os.environ[EMAIL], os.environ[PASSWORD])


@schemathesis.auth().apply_to(path_regex=_THE_CALLER_S)
class Customer(Bearer):
    """A new customer each time."""

    def get(self, case: Case[Any], context: AuthContext) -> str:
        """A fresh token."""
        email, password = f"{secrets.token_hex(8)}@customers.example", secrets.token_urlsafe(12)
        _post("/users", {"email": email, "password": password, "name": "Robin Test"})
        return _token(email, password)


@schemathesis.hook
def before_load_schema(context: HookContext, raw_schema: dict[str, Any]) -> None:
    """Close the schemas, which are open to clients so that answers can grow; and name something that is there."""
    for schema in raw_schema["components"]["schemas"].values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    token = _token(os.environ[EMAIL], os.environ[PASSWORD])
    product = {"sku": f"F-{secrets.token_hex(6)}", "name": "A thing", "category": "tests", "on_hand": 1000}
    sku = _post("/products", {**product, "price": {"amount": 1000, "currency": "EUR"}}, token)["sku"]
    quote = {"items": [{"sku": sku, "quantity": 1}]}
    purchase = {**quote, "payment_method": "pm_card_visa"}
    order = _post("/orders", purchase, token)["id"]
    _exemplify(raw_schema["paths"], {"/products/": sku, "/orders/": order}, {"/quotes": quote, "/orders": purchase})


def _exemplify(paths: dict[str, Any], names: dict[str, str], bodies: dict[str, Any]) -> None:
    for path, item in paths.items():
        for operation in item.values():
            for parameter in operation["parameters"]:
                found = [name for beginning, name in names.items() if path.startswith(beginning + "{")]
                if parameter["in"] == "path" and found:
                    parameter["example"] = found[0]
            if path in bodies and "requestBody" in operation:
                operation["requestBody"]["content"]["application/json"]["example"] = bodies[path]


def _token(email: str, password: str) -> str:
    return str(_post("/sessions", {"email": email, "password": password})["access_token"])


def _post(path: str, body: dict[str, Any], token: str | None = None) -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url, verify = f"{os.environ[EDGE]}{path}", pinned(os.environ[CERTIFICATE])
    answer = httpx.post(url, json=body, headers=headers, timeout=15, trust_env=False, verify=verify)
    return answer.raise_for_status().json()
