"""What tells who a user is, as it is kept: sealed under the user's key.

Promise: nobody has a profile whose key is destroyed. Addresses are kept normalised (rules.py), so that one finds them.
"""

from collections.abc import Collection
from uuid import UUID

from broker.transaction import Transaction
from broker.vault import PersonKey
from contracts.base import Address, Message
from workers.users.tables import UserRow


class Profile(Message):
    """The sealed part of a user."""

    email: str
    name: str
    address: Address | None = None


async def of(tx: Transaction, user: UserRow) -> Profile | None:
    """The profile of a user; None for who is erased."""
    return (await of_all(tx, [user])).get(user.id)


async def of_id(tx: Transaction, user_id: UUID) -> Profile | None:
    """The profile of who has this id; None for nobody, and for who is erased."""
    personal = await tx.connection.fetchval("SELECT personal FROM users WHERE id = $1", user_id)
    key = (await tx.people.keys([user_id])).get(user_id)
    return _opened(key, personal) if key and personal else None


async def of_all(tx: Transaction, users: Collection[UserRow]) -> dict[UUID, Profile]:
    """The profiles of those who are not erased."""
    keys = await tx.people.keys([user.id for user in users])
    return {user.id: _opened(keys[user.id], user.personal) for user in users if user.id in keys and user.personal}


def sealed(key: PersonKey, profile: Profile) -> bytes:
    """The profile as it is kept."""
    return key.seal(_place(key), profile.model_dump_json().encode())


def _opened(key: PersonKey, content: bytes) -> Profile:
    return Profile.model_validate_json(key.open(_place(key), content))


def _place(key: PersonKey) -> str:
    return f"users.personal {key.person}"
