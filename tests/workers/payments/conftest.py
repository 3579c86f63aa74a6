from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.sandbox import KEY, Sandbox, running_sandbox
from workers.payments.sandbox import SandboxGateway


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as sandbox:
        yield sandbox


@pytest.fixture
async def gateway(sandbox: Sandbox) -> AsyncIterator[SandboxGateway]:
    """The adapter, patient enough for the slow card and no more."""
    gateway = SandboxGateway(sandbox.url, KEY, total=4.0)
    yield gateway
    await gateway.aclose()


@pytest.fixture
async def hasty_gateway(sandbox: Sandbox) -> AsyncIterator[SandboxGateway]:
    """The adapter with a short breath, for gateways that never answer."""
    gateway = SandboxGateway(sandbox.url, KEY, total=0.5)
    yield gateway
    await gateway.aclose()
