"""Whatever the OpenAPI document says that may be answered was answered once: here, or in a test that is named here; and
nothing else was answered."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from infra.launcher.services import BUSINESS
from infra.launcher.state import REPOSITORY
from tests.support.customer import Customer, visitor
from tests.support.platform import Platform
from tests.system.walk import Walk
from tests.system.way import (
    through_accounts,
    through_orders,
    through_the_catalogue,
    through_the_platform,
    through_webhooks,
)

ELSEWHERE = {
    "tests/edge_api/test_authentication.py": {
        "503 keys-unavailable": "test_without_keys_a_token_can_not_be_judged",
    },
    "tests/edge_api/test_bad_input.py": {
        "400 body-incomplete": "test_a_body_that_breaks_off_is_refused_and_its_client_counts_as_gone",
        "408 body-too-slow": "test_a_body_that_does_not_arrive_is_given_up",
    },
    "tests/edge_api/test_capacity.py": {
        "503 overloaded": "test_a_slow_service_is_asked_so_much_and_no_more_and_others_go_on",
    },
    "tests/edge_api/test_gateway.py": {
        "500 internal-error": "test_a_defect_is_logged_once_and_tells_nothing",
        "502 bad-answer": "test_a_refusal_that_makes_no_sense_is_a_bad_answer",
        "503 broker-away": "test_no_answer_has_a_status_of_its_own",
        "503 service-unavailable": "test_a_service_that_is_away_is_not_asked_until_it_is_back",
        "503 starting": "test_before_the_services_are_known_nothing_is_said_not_to_be_there",
        "504 deadline-passed": "test_no_answer_has_a_status_of_its_own",
    },
    "tests/edge_api/test_limits.py": {
        "429 too-many-requests": "test_what_is_left_is_said_with_every_answer",
    },
    "tests/edge_api/test_revocations.py": {
        "503 revocations-unavailable": "test_before_it_knows_what_was_revoked_no_token_passes",
    },
    "tests/edge_api/test_streams.py": {
        "429 too-many-streams": "test_there_are_no_more_streams_than_there_may_be",
    },
    "tests/broker/test_answers.py": {
        "409 idempotency-key-in-progress": "test_a_key_that_is_in_progress_is_refused_until_it_is_done",
        "422 idempotency-key-reused": "test_the_same_key_with_another_body_is_refused",
    },
    "tests/broker/test_answering.py": {
        "500 request-failed": "test_a_handler_that_raises_is_a_defect",
        "503 temporarily-unavailable": "test_a_service_that_is_needed_and_away_makes_this_one_unavailable",
    },
    "tests/broker/lane/test_redelivery.py": {
        "500 request-poisoned": "test_a_request_that_kills_whoever_tries_it_is_refused_and_kept",
    },
    "tests/workers/users/test_erasing.py": {
        "410 answer-erased": "test_asked_again_the_answer_of_a_closed_account_is_erased",
    },
}
"""What the edge or any service may answer wherever it is asked, and can't be made to answer here."""
NOT_READY = ("platform.get-readiness", "503")
"""tests/edge_api/test_platform_routes.py::test_when_not_ready_it_says_what_is_missing"""

JSON = {"Content-Type": "application/json"}
AT_THE_DOOR: dict[str, dict[str, Any]] = {
    "400 bad-idempotency-key": {"headers": {"Idempotency-Key": ""}},
    "400 malformed-json": {"content": b"{", "headers": JSON},
    "400 malformed-url": {"query": "%ff"},
    "400 not-text": {"content": b"\xff"},
    "401 unauthenticated": {"headers": {"Authorization": "Bearer nonsense"}},
    "403 forbidden": {"by": "customer"},
    "406 not-acceptable": {"headers": {"Accept": "image/png"}},
    "413 body-too-large": {"content": b" " * (2**20 + 1), "headers": JSON},
    "414 url-too-long": {"query": "x" * 8193},
    "415 unsupported-media-type": {"content": b"x", "headers": {"Content-Type": "text/plain"}},
    "422 invalid-request": {"query": "nonsense=1"},
}
"""What each operation is asked by staff for each of these, where it documents them."""
ANYWHERE = {"id": str(uuid4()), "sku": "NOTHING", "slug": "nothing", "token": "x" * 43, "gateway": "sandbox"}


@pytest.fixture
async def nobody(platform: Platform) -> AsyncIterator[Customer]:
    async with visitor(platform.edge) as somebody:
        yield somebody


async def test_every_documented_answer_was_given_once_and_no_other(
    platform: Platform, staff: Customer, customer: Customer, nobody: Customer
) -> None:
    walk = Walk(await nobody.get("/openapi.json"), {"platform", *BUSINESS})
    await at_the_door(walk, staff, customer)
    await through_the_platform(walk, staff, nobody)
    await through_accounts(walk, platform, staff, nobody)
    await through_the_catalogue(walk, staff, nobody)
    await through_orders(walk, platform, staff, customer, nobody)
    await through_webhooks(walk, platform, nobody)
    named = {answer for answers in ELSEWHERE.values() for answer in answers}
    elsewhere = {told for told in walk.documented if told[1] in named} | {NOT_READY}
    assert sorted(walk.seen - walk.documented) == [], "answered, but not documented"
    assert sorted(walk.documented - walk.seen - elsewhere) == [], "documented, but never answered"


def test_what_is_said_to_be_answered_elsewhere_is_in_a_test_that_names_it() -> None:
    for file, answers in ELSEWHERE.items():
        blocks = (REPOSITORY / file).read_text().split("\n\n\n")
        for answer, name in answers.items():
            (test,) = [block for block in blocks if f"async def {name}(" in block]
            slug = answer.partition(" ")[2]
            assert slug in test or slug.replace("-", "_") in test, f"{name} does not speak of {slug}"


async def at_the_door(walk: Walk, staff: Customer, customer: Customer) -> None:
    """What is refused in the same way wherever it is asked."""
    for name in walk.operations:
        for answer in walk.answers(name) & AT_THE_DOOR.keys():
            how = dict(AT_THE_DOOR[answer])
            who = customer if how.pop("by", "staff") == "customer" else staff
            await walk.ask(who, name, at=ANYWHERE, **how)
        if "400 repeated-header" in walk.answers(name):
            await walk.ask(staff, name, at=ANYWHERE, headers=[("Authorization", "a"), ("Authorization", "b")])
