"""The wiring of the payments service, and the only reader of its settings."""

import os
import sys
from datetime import timedelta

from workers.payments.gateway import Gateway
from workers.payments.handlers import service
from workers.payments.rules import Patience
from workers.payments.sandbox import SandboxGateway

URL = "HEDGEROW_GATEWAY_URL"
KEY = "HEDGEROW_GATEWAY_KEY"
WEBHOOK_SECRET = "HEDGEROW_GATEWAY_WEBHOOK_SECRET"  # noqa: S105 - a setting's name

QUIET = "HEDGEROW_GATEWAY_QUIET_AFTER"
SETTLED = "HEDGEROW_GATEWAY_SETTLED_AFTER"


def main() -> None:
    """Run one instance. Ends with one sentence on standard error and status 1 where a setting is missing or makes no
    sense."""
    service.provide(gateway(), as_type=Gateway)
    usual = Patience()
    service.provide(Patience(quiet=_seconds(QUIET, usual.quiet), settled=_seconds(SETTLED, usual.settled)))
    service.run()


def gateway() -> Gateway:
    """The gateway that the platform uses."""
    for setting in (URL, KEY):
        if not os.environ.get(setting):
            sys.exit(f"{setting} is not set: the payments service needs the gateway's address and its secret key.")
    return SandboxGateway(os.environ[URL], os.environ[KEY], webhook_secret=os.environ.get(WEBHOOK_SECRET))


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
