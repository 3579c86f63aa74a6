"""What each service may do is what its manifest and its code say that it does, and no more."""

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

from broker.service import Service
from contracts.base import Event
from infra.launcher.rights import PLATFORM, Dealings, rights_of, rights_to
from infra.launcher.services import BUSINESS
from infra.launcher.state import REPOSITORY


@pytest.mark.parametrize("name", BUSINESS)
def test_a_service_has_to_do_with_others_what_its_manifest_says(name: str) -> None:
    service: Service = import_module(f"workers.{name}.handlers").service
    manifest, own = service.manifest(), f"{name}."
    others = [said.topic for said in manifest.says if said.kind == "command" and not said.topic.startswith(own)]
    assert PLATFORM[name].commands == tuple(sorted(others))
    assert PLATFORM[name].hears == tuple(topic for topic in manifest.hears if not topic.startswith(own))
    assert all(said.topic.startswith(own) for said in service.says if issubclass(said, Event))


@pytest.mark.parametrize("name", BUSINESS)
def test_a_service_asks_others_what_its_code_asks(name: str) -> None:
    asked = {topic for file in (REPOSITORY / "workers" / name).glob("*.py") for topic in asked_in(file)}
    assert set(PLATFORM[name].asks) == asked


def asked_in(file: Path) -> list[str]:
    """The topics of `ask(Question(…))` in a service's module."""
    module, tree = import_module(f"workers.{file.parent.name}.{file.stem}"), ast.parse(file.read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "ask"]
    return [
        getattr(module, ast.unparse(call.args[0].func)).topic for call in calls if isinstance(call.args[0], ast.Call)
    ]


@pytest.mark.parametrize(
    ("pattern", "binding", "may"),
    [
        ("orders.#", "orders.#", True),
        ("orders.#", "orders.*.v1", True),
        ("orders.#", "orders.order-placed.v1", True),
        ("orders.#", "orders-of-others.order-placed.v1", False),
        ("orders.#", "#", False),
        ("orders.#", "*.order-placed.v1", False),
        ("*.order-placed.v1", "orders.order-placed.v1", True),
        ("*.order-placed.v1", "*.order-placed.v1", True),
        ("*.order-placed.v1", "#.order-placed.v1", False),
        ("orders.order-placed.v1", "orders.order-placed.v1", True),
        ("orders.order-placed.v1", "orders.order-placed.*", False),
        ("orders.order-placed.v1", "plug.anything.v1", True),
        ("#", "#", True),
    ],
)
def test_a_pattern_permits_the_bindings_that_lead_to_nothing_else(pattern: str, binding: str, may: bool) -> None:
    _, read = rights_to("plug", Dealings(hears=(pattern,))).topics["events"]
    assert bool(re.search(read, binding)) is may


@pytest.mark.parametrize("right", ["configure", "write", "read"])
@pytest.mark.parametrize(
    "name", ["users.requests", "orders2.requests", "requests2", "dead-letters2", "amq.default", ""]
)
def test_nobody_has_a_right_to_a_name_of_others(right: str, name: str) -> None:
    assert not re.search(getattr(rights_of("orders"), right), name)


def test_a_release_before_this_one_may_still_have_another_version_to_say() -> None:
    write, _ = rights_of("orders").topics["commands"]
    assert re.search(write, "catalog.restock.v2")
    assert not re.search(write, "catalog.restock-all.v1")
