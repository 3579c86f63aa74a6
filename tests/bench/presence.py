"""Presence

200 instances of a service beat every two seconds, as real ones do; the edge hears them all. The share of one core is
the edge's processor time over the time that it took, without what it takes when they are silent.
"""

import asyncio
import time
from datetime import UTC, datetime

from broker.ids import new_id
from broker.lane.carriers import Carrier
from broker.presence import BEAT_EVERY, Voice
from contracts.presence import Beat, Bye, Hello, Manifest
from infra.launcher.state import any_free_port
from tests.bench.costs import Meter
from tests.bench.ground import Ground, ground
from tests.bench.rounds import Figures, Plan, Table, spreads, verdict

INSTANCES = 200
SETTLE_SECONDS = 3.0
SHARE = "% of one core"


def measure(plan: Plan) -> list[Table]:
    """What beats cost the edge."""
    rounds: list[Figures] = []
    with ground(port=any_free_port()) as here:
        for number in range(plan.rounds):
            plan.say(f"round {number + 1} of {plan.rounds}")
            rounds.append(asyncio.run(_round(here, plan.seconds)))
    table = Table(f"{INSTANCES} instances beating", {"the edge": spreads(rounds)})
    share = table.figure("the edge", SHARE)
    return [table.saying(f"Wanted: under 3 % of one core; it is {share:.2g} %: {verdict(share < 3)}.")]


async def _round(here: Ground, seconds: float) -> Figures:
    carrier = Carrier(str(here.runtime["amqp"]), name="bench presence")
    await carrier.publishing.start()
    await carrier.publishing.wait_up(within=20)
    voice, manifest = Voice(carrier.publisher), Manifest(service="flock", version="1", offers=(), hears=(), says=())
    instances = [new_id() for _ in range(INSTANCES)]
    for instance in instances:
        hello = Hello(instance=instance, manifest=manifest, started_at=datetime.now(UTC))
        await voice.say(hello, f"{Hello.topic}.{manifest.service}")
    try:
        beats = [
            Beat(instance=instance, service=manifest.service, digest=manifest.digest, load=0, consumed=())
            for instance in instances
        ]
        beating = asyncio.create_task(_beat(voice, beats))
        try:
            await asyncio.sleep(SETTLE_SECONDS)
            busy = await _share(here, seconds)
        finally:
            beating.cancel()
    finally:
        for instance in instances:
            await voice.say(Bye(instance=instance, service=manifest.service), f"{Bye.topic}.{manifest.service}")
        await carrier.publishing.close()
    await asyncio.sleep(SETTLE_SECONDS)
    idle = await _share(here, seconds)
    return {SHARE: busy - idle, "of these 200 away": idle}


async def _beat(voice: Voice, beats: list[Beat]) -> None:
    """Each every two seconds, one after the other."""
    started, said = time.monotonic(), 0
    while True:
        beat = beats[said % len(beats)]
        await voice.say(beat, f"{Beat.topic}.{beat.service}")
        said += 1
        await asyncio.sleep(max(0.0, started + said * BEAT_EVERY / len(beats) - time.monotonic()))


async def _share(here: Ground, seconds: float) -> float:
    meter, began = Meter({SHARE: here.family("edge")}), time.perf_counter()
    await asyncio.sleep(seconds)
    return meter.each(time.perf_counter() - began, unit=0.01)[SHARE]
