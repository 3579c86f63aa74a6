"""How programs on this machine believe an edge that speaks HTTPS.

Promise: by its very certificate, whoever signed it and whatever names it has, since it is asked at 127.0.0.1.
"""

import ssl


def pinned(certificate: str | None) -> ssl.SSLContext | bool:
    """What httpx's `verify` takes: this certificate alone (a PEM file); without one, what everybody believes."""
    if not certificate:
        return True
    context = ssl.create_default_context(cafile=certificate)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    return context
