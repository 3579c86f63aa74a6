"""What the users service takes, where its schema says more than its types do."""

import json
from typing import Any
from uuid import uuid4

import pytest
from pydantic import ValidationError

from contracts.users import AssignRoles


@pytest.mark.parametrize("roles", [["baker", "baker"], ["baker"] * 30, [f"role-{n}" for n in range(21)], [[], []]])
def test_no_role_is_given_twice_and_not_too_many(roles: list[Any]) -> None:
    with pytest.raises(ValidationError):
        _given(roles)


def test_each_of_them_once_is_taken() -> None:
    assert _given(["baker", "cook"]).roles == ("baker", "cook")


def _given(roles: list[Any]) -> AssignRoles:
    return AssignRoles.model_validate_json(json.dumps({"id": str(uuid4()), "roles": roles}), strict=True)
