"""`python -m infra.sandbox_gateway`: serves the sandbox gateway until SIGTERM.

Settings: HEDGEROW_GATEWAY_PORT, HEDGEROW_GATEWAY_LEDGER (a SQLite file) and HEDGEROW_GATEWAY_KEY (the secret key); by
HEDGEROW_GATEWAY_HOST another address to listen on than 127.0.0.1; where webhooks are wanted,
HEDGEROW_GATEWAY_WEBHOOK_URL and HEDGEROW_GATEWAY_WEBHOOK_SECRET, and with HTTPS perhaps
HEDGEROW_GATEWAY_WEBHOOK_CERTIFICATE (a PEM file), the only certificate that is believed there.
"""

import asyncio
import os
import signal
from pathlib import Path

from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server.embed import Server

from broker.secret_files import take_secrets
from infra.pinning import pinned
from infra.sandbox_gateway.app import make_app
from infra.sandbox_gateway.ledger import Ledger
from infra.sandbox_gateway.webhooks import Webhooks


async def serve(server: Server, webhooks: Webhooks, *, grace: float = 1.0) -> None:
    """Serve until SIGTERM or SIGINT; requests that are held open on purpose are cut after `grace` seconds."""
    asked_to_end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked_to_end.set)
    serving = asyncio.create_task(server.serve())
    ending = asyncio.create_task(asked_to_end.wait())
    sending = asyncio.create_task(webhooks.send_forever())
    await asyncio.wait({serving, ending, sending}, return_when=asyncio.FIRST_COMPLETED)
    ended = [task for task in (serving, sending) if task.done()]
    sending.cancel()
    ending.cancel()
    for task in ended:
        await task
    if serving.done():
        return
    server.stop()  # type: ignore[no-untyped-call]
    await asyncio.wait({serving}, timeout=grace)


def main() -> None:
    """Read the settings and serve."""
    take_secrets()
    ledger = Ledger(Path(os.environ["HEDGEROW_GATEWAY_LEDGER"]))
    secret = os.environ.get("HEDGEROW_GATEWAY_WEBHOOK_SECRET", "")
    verify = pinned(os.environ.get("HEDGEROW_GATEWAY_WEBHOOK_CERTIFICATE"))
    webhooks = Webhooks(ledger, os.environ.get("HEDGEROW_GATEWAY_WEBHOOK_URL") or None, secret, verify=verify)
    app = make_app(ledger, os.environ["HEDGEROW_GATEWAY_KEY"], webhooks)
    port = int(os.environ["HEDGEROW_GATEWAY_PORT"])
    host = os.environ.get("HEDGEROW_GATEWAY_HOST") or "127.0.0.1"
    server = Server(app, host, port, interface=Interfaces.ASGINL, websockets=False, log_level=LogLevels.error)
    asyncio.run(serve(server, webhooks))
    ledger.close()


if __name__ == "__main__":
    main()
