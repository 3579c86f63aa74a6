"""Whether a webhook comes from the gateway, by Stripe's scheme (https://docs.stripe.com/webhooks#verify-manually)."""

import hashlib
import hmac
import re

TOLERANCE_SECONDS = 300
_PARTS = re.compile(r"t=(\d{1,12})((?:,v\d+=[0-9a-f]+)+)", re.ASCII)


def is_signed(body: str, signature: str, secret: str, *, now: float) -> bool:
    """Whether `signature` (`t=<Unix time>,v1=<hex>`, perhaps several v1, each the HMAC-SHA256 of `<t>.<body>`) fits the
    body and is at most five minutes away from `now`."""
    parts = _PARTS.fullmatch(signature)
    if parts is None or abs(now - int(parts[1])) > TOLERANCE_SECONDS:
        return False
    expected = hmac.new(secret.encode(), f"{parts[1]}.{body}".encode(), hashlib.sha256).hexdigest()
    given = [value for scheme, _, value in (part.partition("=") for part in parts[2].split(",")) if scheme == "v1"]
    return any([hmac.compare_digest(expected, value) for value in given])
