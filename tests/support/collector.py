"""A collector of log lines, over TCP."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Collector:
    """Takes what it is sent."""

    def __init__(self, port: int = 0) -> None:
        self._server = socket.create_server(("127.0.0.1", port))
        self.port = int(self._server.getsockname()[1])
        self._got = b""
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def lines(self) -> list[str]:
        """What came so far."""
        return self._got.decode().splitlines()

    def close(self) -> None:
        """For good, with all its connections."""
        for thing in (self._server, *self._open):
            with contextlib.suppress(OSError):
                thing.shutdown(socket.SHUT_RDWR)
            thing.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                self._open.append(connection)
                threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while got := connection.recv(65536):
                self._got += got


@contextmanager
def collecting(port: int = 0) -> Iterator[Collector]:
    """One that listens while the block lasts."""
    collector = Collector(port)
    try:
        yield collector
    finally:
        collector.close()
