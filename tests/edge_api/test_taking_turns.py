"""Edges that accept from one socket: one comes, one goes, and no client is told."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from edge_api.listening import listen
from edge_api.settings import BadSettingError, settings_from
from infra.launcher.state import any_free_port
from tests.support.eventually import eventually

pytestmark = pytest.mark.servers
NO_BROKER = "amqp://nobody:nothing@127.0.0.1:1/"


@contextmanager
def edge_on(descriptor: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """An edge that accepts from this socket; it lacks its broker, and serves after it has waited for it."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("HEDGEROW_")}
    told = known | {"HEDGEROW_AMQP_URL": NO_BROKER, "HEDGEROW_LIMITS": "off", "HEDGEROW_LISTEN_FD": str(descriptor)}
    command = [sys.executable, "-m", "edge_api"]
    with log.open("wb") as output, subprocess.Popen(command, env=told, pass_fds=[descriptor], stdout=output) as process:
        yield process
        process.kill()


def listening(*logs: Path) -> bool:
    return all("begins to listen" in log.read_text() for log in logs)


class Asking:
    """Asks again and again, over one connection or over one for each request; never for the same twice."""

    def __init__(self, port: int, *, anew: bool) -> None:
        self._url = f"http://127.0.0.1:{port}/healthz"
        self._anew = anew
        self.asked = 0
        self.over = False

    async def work(self) -> None:
        while not self.over:
            async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
                while not self.over:
                    assert (await client.get(self._url)).status_code == 200
                    self.asked += 1
                    await asyncio.sleep(0.01)
                    if self._anew:
                        break


async def test_when_one_leaves_no_request_fails(tmp_path: Path) -> None:
    port = any_free_port()
    logs = tmp_path / "first.log", tmp_path / "second.log"
    with listen("127.0.0.1", port) as listener, ExitStack() as stack:
        first, _ = (stack.enter_context(edge_on(listener.fileno(), log)) for log in logs)

        async def serve() -> bool:
            return listening(*logs)

        await eventually(serve, within=60)
        askers = [Asking(port, anew=anew) for anew in (False, False, True)]
        tasks = [asyncio.create_task(asker.work()) for asker in askers]

        async def have_asked(times: int) -> bool:
            return all(asker.asked >= times for asker in askers)

        await eventually(lambda: have_asked(20), within=20)
        first.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(first.wait, 20) == 0
        before = max(asker.asked for asker in askers)
        await eventually(lambda: have_asked(before + 20), within=20)
        for asker in askers:
            asker.over = True
        await asyncio.gather(*tasks)


@pytest.mark.parametrize("value", ["none", "-1", "999"])
def test_what_is_no_socket_is_refused(value: str) -> None:
    with pytest.raises(BadSettingError, match="which is no socket of this process"):
        settings_from({"HEDGEROW_AMQP_URL": NO_BROKER, "HEDGEROW_LISTEN_FD": value})
