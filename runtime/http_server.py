"""The HTTP server of one process: how it takes connections, and how it drains when it is to end."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from runtime.http_protocol import BoundedProtocol
from runtime.listeners import listen
from runtime.shared_load import SharedLoad
from runtime.shared_memory import SharedMemory

GRACEFUL_SHUTDOWN_SECONDS: Final = 35.0
"""What a stopping server gives its requests: a little more than the longest wait of a POST."""

IDLE_GRACE_SECONDS: Final = 2.0
"""How long a stopping server leaves idle connections open: a client that sends its next request
meanwhile gets an answer, and with it the word that the connection ends."""

CANCELLED_SECONDS: Final = 1.0
"""What a request gets to answer once its time is up."""

CONNECTIONS_MAXIMUM: Final = 800
"""Open connections of a process, below the 1,024 files that systems usually allow it; further ones
wait in the backlog, where another process may take them."""

ACCEPT_PAUSE_SECONDS: Final = 0.1
"""Pause in accepting where there are too many connections or files."""

YIELD_SECONDS: Final = 0.01
YIELDS_MAXIMUM: Final = 10
"""How often a process leaves a connection to one that has fewer, before it takes it itself."""

POLL_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Place:
    """A process's place among several that serve together.

    Parameters
    ----------
    slot
        Which number of the shared load is its own.
    rates
        Where all of them count against rate limits.
    """

    load: SharedLoad
    slot: int
    rates: SharedMemory


class ApiServer(uvicorn.Server):
    """Uvicorn's server with its own way to accept and to end.

    Parameters
    ----------
    listeners
        Bound sockets, perhaps shared with other processes.
    place
        Its place among several processes, if any.

    Notes
    -----
    It takes one connection at a time off a shared listener, and none for a moment where another
    process has fewer; the event loop's own way takes all that wait. Uvicorn ends by closing idle
    connections at once, which cuts off a request that is just being sent.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        listeners: Sequence[socket.socket],
        place: Place | None,
    ) -> None:
        super().__init__(config)
        self._listeners = listeners
        self._place = place
        self._yields = 0
        self._yielded_at = 0.0
        self._opening: set[asyncio.Task[object]] = set()
        self._log = structlog.get_logger("api")

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to whoever runs the server."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections.

        Raises
        ------
        PlaceTaken
            Another process was faster.
        """
        listeners = sockets or self._listeners
        listen(listeners)
        for listener in listeners:
            self._watch(listener)
        self.servers = []
        self.started = True
        self._tell_load(self._open_connections())

    async def on_tick(self, counter: int) -> bool:
        """Do what is due every tenth of a second; tell whether to end."""
        self._tell_load(self._open_connections())
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more, answer what was asked, and tell each client that its connection ends."""
        loop = asyncio.get_running_loop()
        connections, tasks = self.server_state.connections, self.server_state.tasks
        deadline = loop.time() + GRACEFUL_SHUTDOWN_SECONDS
        self._log.info("draining", connections=len(connections), requests=len(tasks))
        # In every answer to a request that is yet to come.
        self.server_state.default_headers = [
            *self.server_state.default_headers,
            (b"connection", b"close"),
        ]
        self._tell_load(None)
        for listener in sockets or self._listeners:
            loop.remove_reader(listener)
            # Their clients hold them for open, and may have sent a request already.
            while self._open_connections() < CONNECTIONS_MAXIMUM and self._accept(listener):
                pass
            listener.close()
        for connection in list(connections):
            if isinstance(connection, HttpToolsProtocol) and _is_answering(connection):
                connection.shutdown()
        await self._until_gone(loop.time() + IDLE_GRACE_SECONDS)
        for connection in list(connections):
            connection.shutdown()
        await self._until_gone(deadline)
        if tasks:
            self._log.error("requests_cut_off", requests=len(tasks))
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=CANCELLED_SECONDS)

    async def _until_gone(self, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        state = self.server_state
        while (  # noqa: ASYNC110 - uvicorn tells of neither
            state.connections or state.tasks or self._opening
        ) and loop.time() < deadline:
            await asyncio.sleep(POLL_SECONDS)

    def _watch(self, listener: socket.socket) -> None:
        if listener.fileno() >= 0 and not self.should_exit:
            asyncio.get_running_loop().add_reader(listener, self._on_connection, listener)

    def _pause(self, listener: socket.socket, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)
        loop.call_later(seconds, self._watch, listener)

    def _on_connection(self, listener: socket.socket) -> None:
        """Take a connection, unless there are too many or another process has fewer."""
        connections = self._open_connections()
        if connections >= CONNECTIONS_MAXIMUM:
            self._pause(listener, ACCEPT_PAUSE_SECONDS)
        elif self._is_to_yield(connections):
            self._pause(listener, YIELD_SECONDS)
        else:
            self._accept(listener)

    def _is_to_yield(self, connections: int) -> bool:
        if self._place is None or not self._place.load.has_fewer(connections):
            return False
        now = asyncio.get_running_loop().time()
        if now - self._yielded_at > 2 * YIELD_SECONDS:
            self._yields = 0  # for another connection than this
        self._yielded_at = now
        self._yields += 1
        return self._yields <= YIELDS_MAXIMUM

    def _open_connections(self) -> int:
        return len(self.server_state.connections) + len(self._opening)

    def _tell_load(self, connections: int | None) -> None:
        if self._place is None:
            return
        if connections is None:
            self._place.load.withdraw(self._place.slot)
        else:
            self._place.load.tell(self._place.slot, connections)

    def _accept(self, listener: socket.socket) -> bool:
        """Take one connection; tell whether there was one, and so may be another."""
        try:
            connection, _address = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False  # another process was faster, or the client has gone
        except OSError as error:
            self._log.error("accept_failed", reason=error.strerror)
            self._pause(listener, ACCEPT_PAUSE_SECONDS)
            return False
        connection.settimeout(0)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        loop = asyncio.get_running_loop()
        opening = loop.create_task(loop.connect_accepted_socket(self._make_protocol, connection))
        self._opening.add(opening)
        opening.add_done_callback(self._opened)
        if not self.should_exit:
            self._tell_load(self._open_connections())
        return True

    def _opened(self, opening: asyncio.Task[object]) -> None:
        self._opening.discard(opening)
        if not opening.cancelled() and (error := opening.exception()) is not None:
            self._log.warning("connection_not_opened", reason=str(error))

    def _make_protocol(self) -> HttpToolsProtocol:
        return BoundedProtocol(self.config, self.server_state, self.lifespan.state)


def _is_answering(connection: HttpToolsProtocol) -> bool:
    cycle = connection.cycle
    # Before its first request a connection has none, whatever the annotation says.
    return bool(cycle) and not cycle.response_complete
