"""Reading the platform's counters."""

from prometheus_client import REGISTRY


class Counting:
    """How much a counter has grown since this was made."""

    def __init__(self, name: str, **labels: str) -> None:
        self._name, self._labels = name, labels
        self._before = self._now()

    @property
    def more(self) -> float:
        """What came on top."""
        return self._now() - self._before

    def _now(self) -> float:
        return REGISTRY.get_sample_value(self._name, self._labels) or 0.0
