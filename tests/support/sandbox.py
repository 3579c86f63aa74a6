"""The sandbox gateway as a process of its own, for tests: started, ended, killed and started again on one ledger."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from infra.launcher.state import any_free_port

KEY = "sk_test_of_a_sandbox"
WEBHOOK_SECRET = "whsec_of_a_sandbox"


class Sandbox:
    """One port and one ledger file; the process behind them comes and goes."""

    def __init__(self, folder: Path, *, webhook_url: str = "", webhook_certificate: str = "") -> None:
        self.port = any_free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.ledger = folder / "ledger.sqlite"
        self._webhook_url = webhook_url
        self._webhook_certificate = webhook_certificate
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process and wait until it answers."""
        settings = {
            "HEDGEROW_GATEWAY_PORT": str(self.port),
            "HEDGEROW_GATEWAY_LEDGER": str(self.ledger),
            "HEDGEROW_GATEWAY_KEY": KEY,
            "HEDGEROW_GATEWAY_WEBHOOK_URL": self._webhook_url,
            "HEDGEROW_GATEWAY_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "HEDGEROW_GATEWAY_WEBHOOK_CERTIFICATE": self._webhook_certificate,
        }
        command = (sys.executable, "-m", "infra.sandbox_gateway")
        self._process = subprocess.Popen(command, env=os.environ | settings)
        deadline = time.monotonic() + 20
        while not self._answers():
            assert self._process.poll() is None, "the sandbox gateway ended before it answered"
            assert time.monotonic() < deadline, "the sandbox gateway does not answer"
            time.sleep(0.05)

    def end(self, how: signal.Signals = signal.SIGTERM, *, within: float = 5.0) -> int:
        """Signal the process and wait for its exit code."""
        assert self._process is not None
        self._process.send_signal(how)
        return self._process.wait(within)

    def kill(self) -> None:
        """End the process without a warning, as `kill -9` does."""
        self.end(signal.SIGKILL)

    def client(self) -> httpx.AsyncClient:
        """A client that knows the secret key."""
        headers = {"Authorization": f"Bearer {KEY}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=10, trust_env=False)

    def script_webhooks(self, **script: Any) -> None:
        """How webhooks behave from now on; without a word, as usual."""
        headers = {"Authorization": f"Bearer {KEY}"}
        httpx.put(f"{self.url}/v1/webhooks", json=script, headers=headers, trust_env=False).raise_for_status()

    def entries(self, reference: str | None = None) -> list[dict[str, Any]]:
        """What happened to the money, oldest first."""
        asked = {} if reference is None else {"reference": reference}
        headers = {"Authorization": f"Bearer {KEY}"}
        answer = httpx.get(f"{self.url}/v1/ledger", params=asked, headers=headers, trust_env=False)
        found: list[dict[str, Any]] = answer.raise_for_status().json()["data"]
        return found

    def kinds(self, reference: str) -> list[str]:
        """What happened to the money of one reference, in a word each: `["authorised", "captured"]`."""
        return [entry["kind"] for entry in self.entries(reference)]

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz", trust_env=False).is_success
        except httpx.TransportError:
            return False


@contextmanager
def running_sandbox(folder: Path, *, webhook_url: str = "", webhook_certificate: str = "") -> Iterator[Sandbox]:
    """A sandbox gateway that is up, with its ledger in `folder`; killed at the end."""
    sandbox = Sandbox(folder, webhook_url=webhook_url, webhook_certificate=webhook_certificate)
    sandbox.start()
    try:
        yield sandbox
    finally:
        sandbox.kill()
