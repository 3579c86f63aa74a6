"""The wiring of the payments service, and the only reader of its settings."""

import os
import sys

from workers.payments.gateway import Gateway
from workers.payments.handlers import service
from workers.payments.sandbox import SandboxGateway

URL = "HEDGEROW_GATEWAY_URL"
KEY = "HEDGEROW_GATEWAY_KEY"
WEBHOOK_SECRET = "HEDGEROW_GATEWAY_WEBHOOK_SECRET"  # noqa: S105 - a setting's name


def main() -> None:
    """Run one instance. Ends with one sentence on standard error and status 1 where a setting is missing."""
    service.provide(gateway(), as_type=Gateway)
    service.run()


def gateway() -> Gateway:
    """The gateway that the platform uses."""
    for setting in (URL, KEY):
        if not os.environ.get(setting):
            sys.exit(f"{setting} is not set: the payments service needs the gateway's address and its secret key.")
    return SandboxGateway(os.environ[URL], os.environ[KEY], webhook_secret=os.environ.get(WEBHOOK_SECRET))
