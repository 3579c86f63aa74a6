"""The fake clock, and what is to happen."""

import heapq
from collections.abc import Callable

Action = Callable[[], None]


class Agenda:
    """Things to do, each at its time, in seconds. What is done puts more of them on it."""

    def __init__(self) -> None:
        self.now = 0.0
        self._count = 0
        self._waiting: list[tuple[float, int, Action]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def after(self, seconds: float, action: Action) -> None:
        """Do it so many seconds from now."""
        self._count += 1
        heapq.heappush(self._waiting, (self.now + seconds, self._count, action))

    def run(self, *, at_most: int = 20_000) -> None:
        """Do everything in its time, until nothing is left. Raises RuntimeError where that never comes."""
        for _ in range(at_most):
            if not self._waiting:
                return
            self._do(heapq.heappop(self._waiting))
        raise RuntimeError(f"after {at_most} steps there is still something to do")

    def pick(self, number: int) -> None:
        """Do one thing now, whatever its time: the `number`-th of those that wait."""
        chosen = sorted(self._waiting)[number]
        self._waiting.remove(chosen)
        heapq.heapify(self._waiting)
        self._do(chosen)

    def _do(self, chosen: tuple[float, int, Action]) -> None:
        at, _, action = chosen
        self.now = max(self.now, at)
        action()
