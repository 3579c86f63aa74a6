"""The users service, running."""

import pytest
from joserfc.jwk import ECKey

from tests.conftest import Start
from tests.support.harness import Harness
from workers.users.handlers import FirstStaff, service
from workers.users.passwords import Passwords
from workers.users.tokens import Signer


@pytest.fixture
async def users(running: Start) -> Harness:
    """An instance with a key of its own and no first staff user."""
    service.provide(Signer(ECKey.generate_key("P-256").as_pem(private=True)))
    service.provide(FirstStaff())
    service.provide(Passwords())
    return await running(service)
