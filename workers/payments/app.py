"""The wiring of the payments service, and the only reader of its settings."""

import os
import sys
from datetime import timedelta

from broker.secret_files import take_secrets
from workers.payments.choosing import Misconfigured, choose
from workers.payments.gateway import Gateway
from workers.payments.handlers import service
from workers.payments.measured import measured
from workers.payments.rules import Patience

QUIET = "HEDGEROW_GATEWAY_QUIET_AFTER"
SETTLED = "HEDGEROW_GATEWAY_SETTLED_AFTER"


def main() -> None:
    """Run one instance. Ends with one sentence on standard error and status 1 where a setting is missing or makes no
    sense."""
    take_secrets()
    try:
        service.provide(measured(choose(os.environ)), as_type=Gateway)
    except Misconfigured as reason:
        sys.exit(str(reason))
    usual = Patience()
    service.provide(Patience(quiet=_seconds(QUIET, usual.quiet), settled=_seconds(SETTLED, usual.settled)))
    service.run()


def _seconds(setting: str, usual: timedelta) -> timedelta:
    given = os.environ.get(setting)
    if given is None:
        return usual
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86_400:
        sys.exit(f"{setting} is {given!r}: give a number of seconds, at most a day.")
    return timedelta(seconds=seconds)
