"""What a gateway says that makes no sense.

Promise: it is an unknown outcome, never a guess, and somebody learns of it: `hedgerow_gateway_nonsense` stands still as
long as all is well.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter
from pydantic import ValidationError

from broker.telemetry import log
from workers.payments.gateway import GatewayUnknown

NONSENSE = Counter("hedgerow_gateway_nonsense", "What a gateway said that made no sense.", ["gateway"])


def nonsense(gateway: str, why: object) -> GatewayUnknown:
    """Count it, log it, and raise what this returns: what the gateway did meanwhile, nobody knows."""
    NONSENSE.labels(gateway).inc()
    log.error("the gateway says what makes no sense", gateway=gateway, why=why)
    return GatewayUnknown(f"what {gateway} says makes no sense")


@contextmanager
def making_sense(gateway: str) -> Iterator[None]:
    """What the gateway said is read inside the block. Raises GatewayUnknown where it does not have its shape."""
    try:
        yield
    except ValidationError as misshapen:
        raise nonsense(gateway, misshapen.errors(include_input=False, include_url=False)) from None
