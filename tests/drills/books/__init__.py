"""The invariants: what must be true of a platform that has come to rest, whatever was done to it.

Each looks at the evidence alone, and yields a line about whatever contradicts it.
"""

from collections.abc import Callable, Iterable

from tests.drills.books import messages, money, orders, platform, stock
from tests.drills.evidence import Evidence

Check = Callable[[Evidence], Iterable[str]]
INVARIANTS: list[Check] = [*orders.CHECKS, *stock.CHECKS, *money.CHECKS, *messages.CHECKS, *platform.CHECKS]
