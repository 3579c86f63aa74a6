"""What befalls calls, for tests: some writes are never answered, some fail, before their effect or after it.

Promise: chance decides, from a seed, which writes that are; a failure is kept for its idempotency key and replayed.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from infra.sandbox_gateway.methods import Method

Share = Annotated[float, Field(ge=0, le=1)]


class Script(BaseModel):
    """The shares of all writes that meet trouble; as it stands none does."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    silent_before: Share = 0.0
    """Never answered, without the effect."""
    silent_after: Share = 0.0
    """Never answered, with the effect."""
    fails_before: Share = 0.0
    """Answered with a 500, without the effect."""
    fails_after: Share = 0.0
    """Answered with a 500, with the effect."""
    seed: int = 0


_BEFALLEN: dict[str, Callable[[Method], Method]] = {
    "silent_before": lambda method: replace(method, silent="before"),
    "silent_after": lambda method: replace(method, silent="after"),
    "fails_before": lambda method: replace(method, fails="before"),
    "fails_after": lambda method: replace(method, fails="after"),
}


class Trouble:
    """Draws what befalls each write, and counts it by its kind."""

    def __init__(self) -> None:
        self.met: Counter[str] = Counter()
        self.follow(Script())

    def follow(self, script: Script) -> None:
        """From now on it is so."""
        self._shares = script.model_dump(exclude={"seed"})
        self._chance = Random(script.seed)  # noqa: S311 - to be repeated, not to be secret

    def befall(self, method: Method) -> Method:
        """The payment method as it behaves this time."""
        drawn = self._chance.random()
        for kind, share in self._shares.items():
            drawn -= share
            if drawn < 0:
                self.met[kind] += 1
                return _BEFALLEN[kind](method)
        return method
