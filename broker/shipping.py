"""Log lines on their way to a collector, over TCP.

Promise: adding a line never waits. A thread of its own sends; while the collector is away or slow, at most `LINES`
texts wait, the oldest go first, and what is lost is counted; it is tried again with growing pauses, for ever. Lines
that were under way when the connection broke may arrive twice, the last of them in part.
"""

import contextlib
import select
import socket
import threading
import time
from collections import deque

from broker.telemetry import LOG_LINES_LOST, LOG_LINES_SHIPPED

LINES = 10_000
AT_ONCE = 500
WITHIN = 5.0
"""Seconds that connecting, or sending a batch, may take."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0


class Shipper:
    """Sends lines to one collector for as long as the process lives."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._waiting: deque[str] = deque()
        self._under_way: list[str] = []
        self._news = threading.Event()
        self._over = False
        self._thread = threading.Thread(target=self._send_forever, name="log shipping", daemon=True)
        self._thread.start()

    def add(self, text: str) -> None:
        """Whole lines, to be sent soon."""
        if len(self._waiting) >= LINES:
            with contextlib.suppress(IndexError):
                self._waiting.popleft()
                LOG_LINES_LOST.inc()
        self._waiting.append(text)
        self._news.set()

    def finish(self, *, within: float) -> None:
        """Wait until all that was added has been sent, for at most so many seconds, and send no more."""
        until = time.monotonic() + within
        while (self._waiting or self._under_way) and time.monotonic() < until:
            time.sleep(0.01)
        self._over = True
        self._news.set()

    def _send_forever(self) -> None:
        pause = FIRST_PAUSE
        while not self._over:
            self._news.wait()
            try:
                with socket.create_connection(self._address, WITHIN) as collector:
                    while not self._over:
                        self._send(collector)
                        pause = FIRST_PAUSE
                        self._news.wait()
            except OSError:
                self._news.set()  # What was under way is still to be sent, whether or not more comes.
                time.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)

    def _send(self, collector: socket.socket) -> None:
        self._news.clear()
        while not self._over and (self._under_way or self._take()):
            _must_be_open(collector)
            collector.sendall("".join(self._under_way).encode())
            LOG_LINES_SHIPPED.inc(len(self._under_way))
            self._under_way = []

    def _take(self) -> bool:
        with contextlib.suppress(IndexError):
            while len(self._under_way) < AT_ONCE:
                self._under_way.append(self._waiting.popleft())
        return bool(self._under_way)


def _must_be_open(collector: socket.socket) -> None:
    """A connection that the collector has closed still takes what is sent, once. Raises OSError."""
    to_read = select.poll()
    to_read.register(collector, select.POLLIN)
    if to_read.poll(0) and collector.recv(1024) == b"":
        raise ConnectionResetError
