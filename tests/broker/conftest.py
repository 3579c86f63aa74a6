"""What tests of the broker room share."""

import pytest

from broker import topology


@pytest.fixture
def quick_tiers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry tiers that a test can wait for; of use to services that start after."""
    monkeypatch.setattr(topology, "TIERS", {"1s": 0.1, "10s": 0.15, "1m": 0.2, "10m": 0.25})
