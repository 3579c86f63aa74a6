"""A service that can be killed: run as a process of its own by the tests, as `python -m tests.broker.lane.doomed`."""

import asyncio
import os
import random
import signal
from pathlib import Path

from broker.service import Http, Service
from tests.broker.lane.words import Die, Echo, Hold, Work

service = Service("doomed", version="1")
_FOLDER = Path(os.environ.get("HEDGEROW_TEST_FOLDER", "."))


@service.answers(Hold, http=Http("POST", "/hold", who="anyone"))
async def hold(ask: Hold) -> Echo:
    if os.environ.get("HOLD"):
        (_FOLDER / ask.word).touch()
        await asyncio.Event().wait()
    return Echo(word=ask.word, by=str(os.getpid()))


@service.answers(Work)
async def work(ask: Work) -> Echo:
    await asyncio.sleep(random.expovariate(1 / 0.03))
    (_FOLDER / ask.word).touch()
    return Echo(word=ask.word)


@service.answers(Die)
async def die(ask: Die) -> Echo:
    os.kill(os.getpid(), signal.SIGKILL)
    return Echo(word=ask.word)


if __name__ == "__main__":
    service.run()
