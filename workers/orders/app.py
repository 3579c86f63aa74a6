"""How the orders service is put together, and the only reader of its settings."""

import os
import sys
from datetime import timedelta

from broker.vault import open_vault
from workers.orders.handlers import service
from workers.orders.rules import Patience

PAYMENT = "HEDGEROW_PAYMENT_TIMEOUT"
CUSTOMER = "HEDGEROW_CUSTOMER_TIMEOUT"
RESERVATION = 86_400


def main() -> None:
    """Serve until told to stop. Ends with one sentence on standard error and status 1 where a setting is nonsense."""
    usual = Patience()
    service.provide(Patience(_seconds(PAYMENT, usual.payment), _seconds(CUSTOMER, usual.customer)))
    service.provide(open_vault())
    service.run()


def _seconds(setting: str, usual: timedelta) -> timedelta:
    given = os.environ.get(setting)
    if given is None:
        return usual
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < RESERVATION:
        sys.exit(f"{setting} is {given!r}: give a number of seconds, less than the day for which stock is reserved.")
    return timedelta(seconds=seconds)
