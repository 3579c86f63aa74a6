"""What a service does again and again, beside what it is asked and told.

Promise: a run that fails is logged, counted and tried again at its next time; it never ends the process, and nothing
else waits for it.
"""

import asyncio
import time
from typing import Any

from broker.injection import pick
from broker.lane import DEFAULT_SECONDS, Ask, Requester
from broker.outbox import Origin
from broker.service import Chore, Service
from broker.telemetry import CHORE_FAILURES, log
from broker.transaction import Database, DatabaseAwayError, Transaction


async def do_forever(service: Service, chore: Chore, database: Database | None, requester: Requester) -> None:
    """Run it until cancelled."""
    name = chore.handler.__name__
    failures = CHORE_FAILURES.labels(name)
    while True:
        try:
            again = await _once(service, chore, database, requester)
        except DatabaseAwayError as error:
            log.warning("what is done again and again waits for the database", what=name, error=error)
            again = False
        except Exception:
            failures.inc()
            log.exception("what is done again and again failed, it is tried again", what=name)
            again = False
        if not again:
            await asyncio.sleep(chore.seconds)


async def _once(service: Service, chore: Chore, database: Database | None, requester: Requester) -> bool:
    ask = Ask(requester, time.time() + DEFAULT_SECONDS)
    given: dict[Any, Any] = {**service.provided, Ask: ask, Database: database}

    async def work(transaction: Transaction) -> bool:
        return bool(await chore.handler(**pick(chore.wants, {**given, Transaction: transaction})))

    if database is None or Transaction not in chore.wants.values():
        return bool(await chore.handler(**pick(chore.wants, given)))
    return await database.transact(Origin(chore.handler.__name__), work)
