"""The sockets that an API listens on: made once, and shared by its processes."""

import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

BACKLOG: Final = 2048
"""Connections that wait to be accepted, at most."""

_LISTENER: Final = socket.SOCK_STREAM


class PlaceTaken(Exception):
    """The API cannot listen where it was told to."""


@contextmanager
def bound_listeners(host: str, port: int) -> Iterator[list[socket.socket]]:
    """Give sockets bound to every address of a host, and close them afterwards.

    Raises
    ------
    PlaceTaken
        An address does not exist here, or another process has the port.

    Notes
    -----
    They do not listen yet: until a server is ready, clients are refused rather than left waiting.
    """
    with ExitStack() as opened:
        listeners: list[socket.socket] = []
        try:
            found = socket.getaddrinfo(host, port, type=_LISTENER, flags=socket.AI_PASSIVE)
            for family, address in dict.fromkeys((family, where) for family, *_, where in found):
                # Named in full: accepted sockets inherit it, and asyncio knows TCP by it.
                listener = socket.socket(family, _LISTENER, socket.IPPROTO_TCP)
                listeners.append(opened.enter_context(listener))
                listener.settimeout(0)
                if sys.platform != "win32":
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listener.bind(address)
        except OSError as error:
            raise _taken(f"{host}:{port}", error) from error
        yield listeners


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
