"""One drill: buyers order, faults rage meanwhile, and when everything has come to rest the books are checked."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import asyncpg
import httpx

from tests.drills import builds, weakened
from tests.drills.books import INVARIANTS
from tests.drills.evidence import gather, look_before
from tests.drills.faults import Fault
from tests.drills.people import People, Wish, any_wish
from tests.drills.scene import Scene
from tests.drills.watching import Watch, come_to_rest, watch_stock
from tests.support.customer import customer_of, staff_of
from tests.support.eventually import eventually
from tests.support.load import Asking
from tests.support.platform import Platform, end

PLENTY = 5000


@dataclass(frozen=True)
class Plan:
    """What a drill does. Buyers come until there were `orders` of them and every fault has touched something, at most
    `at_most`; of the first product there are `scarce`, the first `buyers_of_it` want one of it each, and where it
    `sells_out` all of it must be sold. Faults that have touched something stop after `seconds`. `without` names the
    mechanism that the platform runs without."""

    seed: int
    faults: Sequence[Fault]
    orders: int = 200
    at_most: int = 3000
    at_once: int = 32
    scarce: int = 50
    buyers_of_it: int = 0
    sells_out: bool = False
    seconds: float = float("inf")
    without: str | None = None

    @property
    def build(self) -> str | None:
        """The build of the platform that it needs, if not the usual one."""
        if self.without is not None:
            return builds.without(self.without)
        return next((fault.build for fault in self.faults if fault.build), None)


@dataclass(frozen=True)
class Report:
    """What a drill did and found: what contradicts each invariant, and which faults touched nothing; or why there was
    no drill."""

    plan: Plan
    orders: Counter[str] = field(default_factory=Counter)
    sold: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    verdicts: dict[str, list[str]] = field(default_factory=dict)
    idle: list[str] = field(default_factory=list)
    failure: str | None = None
    seconds: float = 0.0

    @property
    def broken(self) -> list[str]:
        """The invariants that did not hold."""
        return [invariant for invariant, wrong in self.verdicts.items() if wrong]

    @property
    def holds(self) -> bool:
        """Whether everything was touched and every invariant holds."""
        is_sold = self.sold == self.plan.scarce or not self.plan.sells_out
        return self.failure is None and is_sold and not self.idle and not self.broken

    def __str__(self) -> str:
        lacking = f", without {self.plan.without}" if self.plan.without else ""
        lines = [f"seed {self.plan.seed}{lacking}, faults: {', '.join(fault.name for fault in self.plan.faults)}"]
        if self.failure is not None:
            return f"{lines[0]}\n  ✗ there was no result: {self.failure}"
        lines.append("  " + ", ".join(f"{count} {what}" for what, count in sorted(self.orders.items())))
        lines.append("  " + ", ".join(f"{count} {what}" for what, count in sorted(self.counts.items())))
        for invariant, wrong in self.verdicts.items():
            lines.append(f"  {'✗' if wrong else '✓'} {invariant}")
            lines += [f"      {line}" for line in wrong[:5]]
        if self.plan.sells_out:
            lines.append(
                f"  {'✓' if self.sold == self.plan.scarce else '✗'} {self.sold} of {self.plan.scarce} are sold"
            )
        lines += [f"  ✗ {name} touched nothing: this run proves nothing about it" for name in self.idle]
        return "\n".join(lines)


async def drill(platform: Platform, plan: Plan, say: Callable[[str], None] = lambda line: None) -> Report:
    """Hurt the platform while it works, and look what became of it."""
    began, chance = time.monotonic(), Random(plan.seed)
    async with AsyncExitStack() as stack:
        staff = await stack.enter_async_context(staff_of(platform))
        customer = await stack.enter_async_context(customer_of(platform))
        for somebody in (staff, customer):
            somebody.http.timeout = httpx.Timeout(20)
        before = await look_before(platform)
        await stack.enter_async_context(_witness(platform, plan.without))
        watch = Watch({await staff.add_product(on_hand=many): many for many in (plan.scarce, PLENTY, PLENTY)})
        wishes: list[Wish] = []
        people = People(customer.http, staff.http, Asking())
        started = asyncio.Event()

        async def load() -> None:
            await started.wait()
            await people.live(_wishes(scene, plan, list(watch.given), wishes), at_once=plan.at_once)

        scene = Scene(platform, chance, asyncio.create_task(load()), people.asking, before, plan.seconds)
        await _rage(scene, plan, watch, started)
        say(f"{len(wishes)} orders after {time.monotonic() - began:.0f} s, waiting for quiet")
        await come_to_rest(scene)
        found = await gather(scene, wishes, watch, staff.http)
    scarce = next(iter(watch.given))
    return Report(
        plan,
        orders=Counter(order["status"] for order in found.orders.values()),
        sold=plan.scarce - found.stock[scarce][0],
        counts=scene.counts,
        verdicts={(check.__doc__ or "").splitlines()[0]: list(check(found)) for check in INVARIANTS},
        idle=[fault.name for fault in plan.faults if not fault.has_touched(scene)],
        seconds=time.monotonic() - began,
    )


async def _rage(scene: Scene, plan: Plan, watch: Watch, started: asyncio.Event) -> None:
    """Let everybody begin, and wait for all of them; when one fails, none goes on."""
    beside = [scene.load, asyncio.create_task(watch_stock(scene, watch))]
    beside += [asyncio.create_task(fault.rage(scene)) for fault in plan.faults]
    started.set()
    try:
        await asyncio.gather(*beside)
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)


@asynccontextmanager
async def _witness(platform: Platform, without: str | None) -> AsyncIterator[None]:
    """The service that writes down what it hears: inside the block it listens."""
    command = builds.command(None if without is None else builds.without(without), "tests.drills.witness")
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
            wishes.append(Wish(scarce, 1, "pm_card_visa"))
        else:
            wishes.append(any_wish(scene.chance, plenty if plan.buyers_of_it else skus))
        yield wishes[-1]


def _all_touched(scene: Scene, plan: Plan) -> bool:
    return all(fault.has_touched(scene) for fault in plan.faults)
