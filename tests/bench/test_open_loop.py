"""The generator charges a stall to everybody who would have come meanwhile."""

import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.bench.open_loop import WARM_UP_SECONDS, open_loop

pytestmark = pytest.mark.servers

RATE = 100
_LOCK = threading.Lock()


class Answer(socketserver.StreamRequestHandler):
    """Answers one request at a time; the first one after the warm-up holds up everybody for 0.6 s."""

    served = 0

    def handle(self) -> None:
        while line := self.rfile.readline():
            if line == b"\r\n":
                with _LOCK:
                    Answer.served += 1
                    if Answer.served == round(RATE * WARM_UP_SECONDS) + 1:
                        time.sleep(0.6)
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@contextmanager
def server() -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer) as it:
        it.daemon_threads = True
        threading.Thread(target=it.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{it.server_address[1]}/"
        it.shutdown()


def test_a_stall_is_charged_to_everybody_who_was_due_meanwhile() -> None:
    with server() as url:
        figures = open_loop(url, rate=RATE, seconds=1)
    assert figures["p99 ms"] > 400
    assert figures["p50 ms"] > 50  # half of all were due during the stall; asked in turn, only one would have waited
