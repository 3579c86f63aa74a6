"""The users service, running."""

import pytest_asyncio
from joserfc.jwk import ECKey

from tests.conftest import Start
from tests.support.harness import Harness
from tests.support.vaults import vault
from tests.workers.users.people import LETTERBOX
from workers.users.handlers import FirstStaff, service
from workers.users.mailing import Mailer
from workers.users.passwords import Passwords
from workers.users.tables import UsersTable
from workers.users.tokens import Signer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_users(sharing: Start) -> Harness:
    """An instance with a key of its own and no first staff user."""
    service.provide(Signer(ECKey.generate_key("P-256").as_pem(private=True)))
    service.provide(FirstStaff())
    service.provide(Passwords())
    service.provide(vault())
    service.provide(Mailer(LETTERBOX, "The Shop <shop@example.org>"))
    return await sharing(service)


@pytest_asyncio.fixture(loop_scope="module")
async def users(shared_users: Harness) -> Harness:
    """The module's instance, which knows nobody yet."""
    await shared_users.empty(UsersTable.metadata)
    await shared_users.forget_people()
    LETTERBOX.mails.clear()
    return shared_users
