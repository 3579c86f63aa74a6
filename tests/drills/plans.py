"""Which drills there are to run: those that somebody asks for, or all of them."""

from collections.abc import Iterable, Iterator, Sequence

from tests.drills.drill import Plan
from tests.drills.faults import Fault
from tests.drills.faults.every import AT_ONCE, FAULTS
from tests.drills.weakened import MECHANISMS

FIFTY, BUYERS = 50, 200
ALONE, ALL_AT_ONCE, CRASHES, SOLD_OUT = 5, 2, 2, 20
"""How often each fault rages alone, all do at once, each crash point is tried, and everything is sold."""
_USUAL = ["workers"]
_WITHOUT_A_MECHANISM = ["workers", "copied-messages", "reordered-messages"]


def asked(names: Iterable[str] | None, without: str | None, *, seed: int, runs: int, orders: int) -> Iterator[Plan]:
    """These faults together (if none is named, the usual ones), so often, without a mechanism or without each."""
    for mechanism in list(MECHANISMS) if without == "each" else [without]:
        usual = _USUAL if mechanism is None else _WITHOUT_A_MECHANISM
        faults = [FAULTS[name] for name in names or usual]
        for run in range(runs):
            yield _plan(seed + run, faults, orders=orders, without=mechanism)


def every(seed: int) -> Iterator[Plan]:
    """Everything: each fault alone, all at once, sell-outs, each crash point, and a platform without each mechanism.
    Those that need the same build of the platform follow each other."""
    for fault in AT_ONCE:
        for run in range(ALONE):
            yield _alone(seed + run, fault)
    for run in range(ALL_AT_ONCE):
        yield _plan(seed + run, AT_ONCE, orders=120)
    for run in range(SOLD_OUT):
        yield sell_out(seed + run)
    for fault in (fault for fault in FAULTS.values() if fault.build is not None):
        for run in range(CRASHES):
            yield _alone(seed + run, fault)
    yield from asked(None, "each", seed=seed, runs=1, orders=300)


def sell_out(seed: int) -> Plan:
    """Two hundred buyers, thirty-two at a time, want fifty pieces of one product, while processes are killed."""
    faults = [FAULTS["workers"], FAULTS["edge"]]
    return Plan(seed, faults, orders=BUYERS, scarce=FIFTY, buyers_of_it=BUYERS, sells_out=True)


def again(plan: Plan) -> str:
    """How to run it again."""
    if plan.sells_out:
        return f"just drill --sell-out --seed {plan.seed}"
    faults = " ".join(f"--fault {fault.name}" for fault in plan.faults)
    without = f" --without {plan.without}" if plan.without else ""
    return f"just drill {faults}{without} --seed {plan.seed} --orders {plan.orders}"


def _alone(seed: int, fault: Fault) -> Plan:
    return _plan(seed, [fault], orders=120)


def _plan(seed: int, faults: Sequence[Fault], *, orders: int, without: str | None = None) -> Plan:
    """A third of the buyers, or all two hundred, want what there are fifty of, or few."""
    buyers = min(BUYERS, orders // 2)
    at_most = orders if without else 10 * orders
    scarce = min(FIFTY, buyers // 2)
    return Plan(seed, faults, orders=orders, at_most=at_most, buyers_of_it=buyers, scarce=scarce, without=without)
