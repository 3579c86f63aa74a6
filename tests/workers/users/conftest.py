"""The users service, running."""

import pytest_asyncio
from joserfc.jwk import ECKey

from tests.conftest import Start
from tests.support.harness import Harness
from workers.users.handlers import FirstStaff, service
from workers.users.passwords import Passwords
from workers.users.tables import UsersTable
from workers.users.tokens import Signer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_users(sharing: Start) -> Harness:
    """An instance with a key of its own and no first staff user."""
    service.provide(Signer(ECKey.generate_key("P-256").as_pem(private=True)))
    service.provide(FirstStaff())
    service.provide(Passwords())
    return await sharing(service)


@pytest_asyncio.fixture(loop_scope="module")
async def users(shared_users: Harness) -> Harness:
    """The module's instance, which knows nobody yet."""
    await shared_users.empty(UsersTable.metadata)
    return shared_users
