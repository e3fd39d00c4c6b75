"""Loopback ports for the local stack's servers."""

import errno
import secrets
import socket
from collections.abc import Collection

from runtime.local_errors import LocalStackError

LOOPBACK = "127.0.0.1"

# Below the range from which Linux (32768 up) and macOS (49152 up) take the ports of outgoing
# connections. A server that restarts on a port of that range may find that a client, retrying in
# the meantime, was given this very port and so connected to itself.
FREE_PORTS_FROM = 20_000
FREE_PORTS_UP_TO = 32_000
FREE_PORT_TRIES = 200


class PortTakenError(LocalStackError):
    """A port that was asked for cannot be listened on.

    Parameters
    ----------
    port
        The port.
    wanted_by
        The server that was to listen there.
    option
        The option that moves it.
    reason
        What the operating system says.
    """

    def __init__(self, port: int, *, wanted_by: str, option: str, reason: str) -> None:
        self.port = port
        super().__init__(
            f"{wanted_by} cannot listen on {LOOPBACK}:{port} ({reason}). "
            f"Choose another port with {option}, where 0 takes any free one, "
            "or stop what listens there."
        )


def require_port(port: int, *, wanted_by: str, option: str) -> None:
    """Check that a server can listen on a port.

    Parameters
    ----------
    port
        From 1 to 65535.
    wanted_by
        The server's name, for the message.
    option
        The option that moves it, for the message.

    Raises
    ------
    PortTakenError
        Another process listens there, or this user may not.
    """
    problem = _problem_with(port)
    if problem is not None:
        raise PortTakenError(port, wanted_by=wanted_by, option=option, reason=problem)


def free_port(avoid: Collection[int] = ()) -> int:
    """Choose a port on which nothing listens now.

    Parameters
    ----------
    avoid
        Ports that are promised to others.

    Raises
    ------
    LocalStackError
        None was found.
    """
    for _ in range(FREE_PORT_TRIES):
        port = FREE_PORTS_FROM + secrets.randbelow(FREE_PORTS_UP_TO - FREE_PORTS_FROM)
        if port not in avoid and _problem_with(port) is None:
            return port
    raise LocalStackError(
        f"No free port was found between {FREE_PORTS_FROM} and {FREE_PORTS_UP_TO} on {LOOPBACK}. "
        "Name the ports to use instead of 0."
    )


def _problem_with(port: int) -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the servers do: connections of an earlier server that linger are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return "another process listens there"
            return (error.strerror or str(error)).lower()
    return None
