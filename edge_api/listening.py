"""The socket that an edge accepts from: its own, or one that several take turns at."""

import errno
import socket

from edge_api.settings import BadSettingError

BACKLOG = 1024  # a connection that finds no room is tried again by its client's kernel a second later


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises BadSettingError where nobody could."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        reason = "is taken" if error.errno == errno.EADDRINUSE else f"can't be used ({error.strerror})"
        raise BadSettingError(f"Port {port} on {host} {reason}; set HEDGEROW_PORT to a free one.") from None
    return listener
