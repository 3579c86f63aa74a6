"""Drills, one after the other.

Promise: each ends by itself, with a report also where it failed; a platform is used again only by the next drill of the
same build, and only if it came out of the last one as it should.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace

from tests.drills.drill import Plan, Report, drill
from tests.drills.ground import ground
from tests.drills.weakened import PROTECTS
from tests.support.platform import Platform

LIMIT = 600.0
"""How long one drill may take, in seconds."""
USES = 15
"""How many drills a platform serves: what it has seen before makes looking at it longer."""
Say = Callable[[str], None]


def run(plans: Iterable[Plan], say: Say) -> Iterator[Report]:
    """A report about each."""
    platform: Platform | None = None
    build, uses = None, 0
    with ExitStack() as stack:
        for plan in plans:
            began = time.monotonic()
            try:
                if platform is None or plan.build != build or uses >= USES:
                    platform = None
                    stack.close()
                    build, uses, platform = plan.build, 0, stack.enter_context(ground(plan.build))
                report = asyncio.run(_within_limits(platform, plan, say))
            except Exception as error:
                report = Report(plan, failure=_words(error))
            uses += 1
            if not report.holds:
                platform = None
            yield replace(report, seconds=time.monotonic() - began)


def is_as_it_should_be(report: Report) -> bool:
    """All holds; without a mechanism, what it protects does not."""
    if report.plan.without is None:
        return report.holds
    return any(invariant.startswith(PROTECTS[report.plan.without]) for invariant in report.broken)


async def _within_limits(platform: Platform, plan: Plan, say: Say) -> Report:
    async with asyncio.timeout(LIMIT):
        return await drill(platform, plan, say)


def _words(error: BaseException) -> str:
    """What went wrong, of several things the first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"[:1000]
