"""One drill: buyers order, faults rage meanwhile, and when everything has come to rest the books are checked."""

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from random import Random

import asyncpg
import httpx

from tests.drills import weakened
from tests.drills.books import INVARIANTS
from tests.drills.evidence import gather, watch_stock, what_is_left
from tests.drills.faults import Fault
from tests.drills.scene import Scene
from tests.support.customer import customer_of, staff_of
from tests.support.eventually import eventually
from tests.support.load import Asking, Wish, buy_all
from tests.support.platform import Platform, end

CARDS = ("pm_card_visa",) * 7 + ("pm_card_visa_chargeDeclined", "pm_sandbox_capture_fails", "pm_sandbox_error_once")
QUIET_WITHIN = 150.0
STATISTICS_EVERY = 5.5
"""The broker gathers its figures every five seconds: emptiness is believed when it was seen twice, this far apart."""


@dataclass(frozen=True)
class Plan:
    """What a drill does. Buyers come until there were `orders` of them and every fault has touched something, at most
    `at_most`; of the first product there are `scarce`, and the first `buyers_of_it` want it. Faults that have touched
    something stop after `seconds`. `without` names the mechanism that the platform runs without."""

    seed: int
    faults: Sequence[Fault]
    orders: int = 200
    at_most: int = 3000
    at_once: int = 32
    scarce: int = 50
    buyers_of_it: int = 0
    seconds: float = float("inf")
    without: str | None = None


@dataclass(frozen=True)
class Report:
    """What a drill did and found: what contradicts each invariant, and which faults touched nothing."""

    plan: Plan
    orders: Counter[str]
    sold: int
    counts: Counter[str]
    verdicts: dict[str, list[str]]
    idle: list[str]

    @property
    def holds(self) -> bool:
        """Whether everything was touched and every invariant holds."""
        return not self.idle and not any(self.verdicts.values())

    def __str__(self) -> str:
        lacking = f", without {self.plan.without}" if self.plan.without else ""
        lines = [f"seed {self.plan.seed}{lacking}, faults: {', '.join(fault.name for fault in self.plan.faults)}"]
        lines.append("  " + ", ".join(f"{count} {what}" for what, count in sorted(self.orders.items())))
        lines.append("  " + ", ".join(f"{count} {what}" for what, count in sorted(self.counts.items())))
        for invariant, wrong in self.verdicts.items():
            lines.append(f"  {'✗' if wrong else '✓'} {invariant}")
            lines += [f"      {line}" for line in wrong[:5]]
        lines += [f"  ✗ {name} touched nothing: this run proves nothing about it" for name in self.idle]
        return "\n".join(lines)


async def drill(platform: Platform, plan: Plan, say: Callable[[str], None] = lambda line: None) -> Report:
    """Hurt the platform while it works, and look what became of it."""
    chance = Random(plan.seed)
    async with AsyncExitStack() as stack:
        staff = await stack.enter_async_context(staff_of(platform))
        customer = await stack.enter_async_context(customer_of(platform))
        customer.http.timeout = httpx.Timeout(20)
        await stack.enter_async_context(_witness(platform, plan.without))
        given = {await staff.add_product(on_hand=many): many for many in (plan.scarce, 5000, 5000)}
        wishes: list[Wish] = []
        asking = Asking()
        started = asyncio.Event()

        async def load() -> None:
            await started.wait()
            coming = _wishes(scene, plan, list(given), wishes)
            await buy_all(customer.http, coming, at_once=plan.at_once, asking=asking, must_settle=False)

        scene = Scene(platform, chance, asyncio.create_task(load()), asking, plan.seconds)
        lowest = dict(given)
        beside = [asyncio.create_task(fault.rage(scene)) for fault in plan.faults]
        beside.append(asyncio.create_task(watch_stock(scene, lowest)))
        started.set()
        await asyncio.gather(scene.load, *beside)
        say(f"{len(wishes)} orders have ended, waiting for quiet")
        await _come_to_rest(scene)
        found = await gather(scene, wishes, given, lowest)
    wrong = {(check.__doc__ or "").splitlines()[0]: list(check(found)) for check in INVARIANTS}
    idle = [fault.name for fault in plan.faults if not scene.has_any(fault.shows_in)]
    ends = Counter(order["status"] for order in found.orders.values())
    scarce = next(iter(given))
    return Report(plan, ends, given[scarce] - found.stock[scarce][0], scene.counts, wrong, idle)


@asynccontextmanager
async def _witness(platform: Platform, without: str | None) -> AsyncIterator[None]:
    """The service that writes down what it hears: inside the block it listens."""
    module = "tests.drills.witness"
    command = (sys.executable, "-m", module) if without is None else weakened.command(without, module)
    known = len(_servings(platform))
    process = platform.start_program("witness", *command)

    async def listens() -> bool:
        return len(_servings(platform)) > known

    try:
        await eventually(listens, within=30, every=0.1)
        if without in weakened.BEFORE_THE_LOAD:
            database = await asyncpg.connect(platform.servers.database)
            await database.execute(weakened.BEFORE_THE_LOAD[without])
            await database.close()
        yield
    finally:
        end(process, signal.SIGKILL)


def _servings(platform: Platform) -> list[str]:
    logs = {name: log for name, log in platform.logs().items() if name.startswith("witness")}
    return [name for name, log in logs.items() if any(entry["event"] == "serving" for entry in log)]


def _wishes(scene: Scene, plan: Plan, skus: list[str], wishes: list[Wish]) -> Iterator[Wish]:
    """One after the other: first those who want what is scarce, then the others, until all is done."""
    scarce, *plenty = skus
    while len(wishes) < plan.orders or (len(wishes) < plan.at_most and not _all_touched(scene, plan)):
        if len(wishes) < plan.buyers_of_it:
            wish = Wish(scarce, 1, "pm_card_visa")
        else:
            chosen = scene.chance.choice(plenty if plan.buyers_of_it else skus)
            wish = Wish(chosen, scene.chance.randint(1, 3), scene.chance.choice(CARDS))
        wishes.append(wish)
        yield wish


def _all_touched(scene: Scene, plan: Plan) -> bool:
    return all(scene.has_any(fault.shows_in) for fault in plan.faults)


async def _come_to_rest(scene: Scene) -> None:
    """Wait until nothing is left to do, or until it is clear that something always will be."""

    async def is_quiet() -> bool:
        assert await what_is_left(scene) == {}
        return True

    try:
        await eventually(is_quiet, within=QUIET_WITHIN, every=0.5)
        await asyncio.sleep(STATISTICS_EVERY)
        await eventually(is_quiet, within=QUIET_WITHIN, every=0.5)
    except AssertionError:
        return  # an invariant says what is left
