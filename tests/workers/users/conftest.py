"""The users service, running."""

from collections.abc import Awaitable, Callable

import pytest
from joserfc.jwk import ECKey
from tests.support.running import Running

from broker.service import Service
from workers.users.handlers import FirstStaff, service
from workers.users.passwords import Passwords
from workers.users.tokens import Signer


@pytest.fixture
async def users(running: Callable[[Service], Awaitable[Running]]) -> Running:
    """An instance with a key of its own and no first staff user."""
    service.provide(Signer(ECKey.generate_key("P-256").as_pem(private=True)))
    service.provide(FirstStaff())
    service.provide(Passwords())
    return await running(service)
