"""The socket that an edge accepts from: its own, or one that several take turns at."""

import errno
import socket

from edge_api.settings import BadSettingError

BACKLOG = 1024  # a connection that finds no room is tried again by its client's kernel a second later
READ_WITHIN_SECONDS = 10
"""How long a client may take nothing of what it is sent."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises BadSettingError where nobody could."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _cut_who_does_not_read(listener)
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        reason = "is taken" if error.errno == errno.EADDRINUSE else f"can't be used ({error.strerror})"
        raise BadSettingError(f"Port {port} on {host} {reason}; set HEDGEROW_PORT to a free one.") from None
    return listener


def _cut_who_does_not_read(listener: socket.socket) -> None:
    """The kernel ends a connection whose other end takes nothing of what it is sent for so long (RFC 5482); what is
    accepted inherits it. Granian has no such time-out, and an answer that nobody reads would be kept for ever."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, READ_WITHIN_SECONDS * 1000)
