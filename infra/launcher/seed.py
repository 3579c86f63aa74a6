"""A small garden shop to try things on, made over the public API by the first staff user, once."""

import time
from typing import Any

import httpx

from infra.launcher.failure import Failure
from infra.pinning import pinned

_PATIENCE = 10.0
_CATEGORIES = {"tools": "Garden tools", "seeds": "Seeds", "plants": "Plants", "watering": "Watering"}
# sku, name, category, price in cents, grams, on hand
_PRODUCTS = (
    ("SPADE-01", "Digging spade, ash handle", "tools", 3490, 1900, 80),
    ("FORK-01", "Border fork", "tools", 2990, 1500, 60),
    ("SECATEURS-01", "Bypass secateurs", "tools", 2450, 240, 150),
    ("GLOVES-M", "Leather gloves, medium", "tools", 1290, 160, 300),
    ("TWINE-100", "Jute twine, 100 m", "tools", 450, 180, 500),
    ("SEED-TOMATO", "Tomato seeds, Matina", "seeds", 295, 5, 400),
    ("SEED-BEAN", "Runner bean seeds", "seeds", 325, 60, 350),
    ("SEED-MEADOW", "Wildflower meadow mix, 1 kg", "seeds", 2890, 1000, 120),
    ("HAWTHORN-60", "Hawthorn, bare root, 60-80 cm", "plants", 185, 250, 500),
    ("HORNBEAM-80", "Hornbeam, bare root, 80-100 cm", "plants", 240, 300, 420),
    ("CAN-10", "Watering can, 10 l, zinc", "watering", 3990, 1600, 45),
    ("HOSE-25", "Garden hose, 25 m", "watering", 4490, 3800, 20),
)


class NotOurs(Exception):
    """The database was filled by another platform; nothing is wrong."""


class _Refused(Failure):
    def __init__(self, what: str, status: int) -> None:
        super().__init__(f"The first products could not be added: {what}.")
        self.status = status


def seed(administrator: dict[str, Any], edge: str, certificate: str | None = None) -> int:
    """Fill an empty catalogue; answers how many products were added.

    Raises `NotOurs` when the staff user is not known there, and `Failure` when the platform refuses.
    """
    with httpx.Client(base_url=edge, timeout=15, trust_env=False, verify=pinned(certificate)) as client:
        login = {"email": administrator["email"], "password": administrator["password"]}
        client.headers["Authorization"] = f"Bearer {_log_in(client, login)}"
        if _ask(client, "GET", "/products?limit=1")["items"]:
            return 0
        for slug, name in _CATEGORIES.items():
            _ask(client, "PUT", f"/categories/{slug}", {"name": name})
        for product in _PRODUCTS:
            _add(client, _described(*product))
    return len(_PRODUCTS)


def _log_in(client: httpx.Client, login: dict[str, Any]) -> str:
    try:
        return str(_ask(client, "POST", "/sessions", login)["access_token"])
    except _Refused as refused:
        if refused.status != httpx.codes.UNAUTHORIZED:
            raise
        raise NotOurs("This database has other staff than admin.json names, so no products were added.") from refused


def _add(client: httpx.Client, product: dict[str, Any]) -> None:
    try:
        _ask(client, "POST", "/products", product)
    except _Refused as refused:
        # Asked again after a 503, it may be there already.
        if refused.status != httpx.codes.CONFLICT:
            raise


def _described(sku: str, name: str, category: str, cents: int, grams: int, on_hand: int) -> dict[str, Any]:
    return {
        "sku": sku,
        "name": name,
        "description": f"{name}, from the {_CATEGORIES[category].lower()} shelf.",
        "category": category,
        "price": {"amount": cents, "currency": "EUR"},
        "weight_grams": grams,
        "on_hand": on_hand,
    }


def _ask(client: httpx.Client, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    deadline = time.monotonic() + _PATIENCE
    try:
        while (response := client.request(method, path, json=body)).status_code == httpx.codes.SERVICE_UNAVAILABLE:
            if time.monotonic() > deadline:
                break
            time.sleep(0.2)
    except httpx.HTTPError as error:
        raise Failure(f"The first products could not be added: {method} {path} got no answer ({error}).") from error
    if response.is_error:
        raise _Refused(f"{method} {path} said {response.status_code} {response.text}", response.status_code)
    return response.json()
