"""The sockets that an API listens on: made once, and shared by its processes."""

import errno
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

BACKLOG: Final = 2048
"""Connections that wait to be accepted, at most."""

_LISTENER: Final = socket.SOCK_STREAM
_MISSING: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
"""A name may have addresses of a family that this machine does not use."""


class PlaceTaken(Exception):
    """The API cannot listen where it was told to."""


@contextmanager
def bound_listeners(host: str, port: int) -> Iterator[list[socket.socket]]:
    """Give sockets bound to every address of a host, and close them afterwards.

    Raises
    ------
    PlaceTaken
        No address of the host exists here, or another process has the port.

    Notes
    -----
    They do not listen yet: until a server is ready, clients are refused rather than left waiting.
    """
    place = f"{host}:{port}"
    with ExitStack() as opened:
        listeners: list[socket.socket] = []
        try:
            found = socket.getaddrinfo(host, port, type=_LISTENER, flags=socket.AI_PASSIVE)
        except OSError as error:
            raise _taken(place, error) from error
        missing: OSError | None = None
        for family, address in dict.fromkeys((family, where) for family, *_, where in found):
            try:
                listeners.append(opened.enter_context(_bound(family, address)))
            except OSError as error:
                if error.errno not in _MISSING:
                    raise _taken(place, error) from error
                missing = error
        if missing is not None and not listeners:
            raise _taken(place, missing) from missing
        yield listeners


def _bound(family: socket.AddressFamily, address: Any) -> socket.socket:
    # Named in full: accepted sockets inherit it, and asyncio knows TCP by it.
    listener = socket.socket(family, _LISTENER, socket.IPPROTO_TCP)
    try:
        listener.settimeout(0)
        if sys.platform != "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


def listen(listeners: Iterable[socket.socket]) -> None:
    """Let clients connect; nothing changes where they can already.

    Raises
    ------
    PlaceTaken
        Another process was faster since the socket was bound.
    """
    for listener in listeners:
        try:
            listener.listen(BACKLOG)
        except OSError as error:
            raise _taken(place_of(listener), error) from error


def place_of(listener: socket.socket) -> str:
    """Give the address and port that a listener is bound to."""
    address, port, *_ = listener.getsockname()
    return f"{address}:{port}"


def _taken(place: str, error: OSError) -> PlaceTaken:
    return PlaceTaken(f"The API cannot listen on {place}: {error.strerror or error}.")
