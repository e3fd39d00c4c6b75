"""One process of the API as an HTTP server: it accepts, serves, and drains when it is to end."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import structlog
import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.app import create_app
from runtime.composition import open_api
from runtime.listeners import bound_listeners
from runtime.settings import Settings
from runtime.stop_signals import stopping_on_signals

GRACEFUL_SHUTDOWN_SECONDS: Final = 35.0
"""What a stopping server gives its requests: a little more than the longest wait of a POST."""

IDLE_GRACE_SECONDS: Final = 2.0
"""How long a stopping server leaves idle connections open: a client that sends its next request
meanwhile gets an answer, and with it the word that the connection ends."""

CANCELLED_SECONDS: Final = 1.0
"""What a request gets to answer once its time is up."""

KEEP_ALIVE_SECONDS: Final = 65
BACKLOG: Final = 2048
CONNECTIONS_MAXIMUM: Final = 800
"""Open connections of a process, below the 1,024 files that systems usually allow it; further ones
wait in the backlog, where another process may take them."""

ACCEPT_PAUSE_SECONDS: Final = 0.1
"""Pause in accepting where there are too many connections or files."""

POLL_SECONDS: Final = 0.05


class ApiServer(uvicorn.Server):
    """Uvicorn's server with its own way to accept and to end.

    Parameters
    ----------
    listeners
        Bound sockets, perhaps shared with other processes.
    on_ready
        Called once connections are accepted.

    Notes
    -----
    It takes one connection at a time off a shared listener, so that a busy process leaves more of
    them to the others; the event loop's own way takes all that wait. Uvicorn ends by closing idle
    connections at once, which cuts off a request that is just being sent.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        listeners: Sequence[socket.socket],
        on_ready: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._listeners = listeners
        self._on_ready = on_ready
        self._opening: set[asyncio.Task[object]] = set()
        self._log = structlog.get_logger("api")

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to whoever runs the server."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections."""
        for listener in sockets or self._listeners:
            listener.listen(BACKLOG)
            self._watch(listener)
        self.servers = []
        self.started = True
        self._on_ready()

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
        for listener in sockets or self._listeners:
            loop.remove_reader(listener)
            # Their clients hold them for open, and may have sent a request already.
            while self._accept(listener):
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
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _pause(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)
        loop.call_later(ACCEPT_PAUSE_SECONDS, self._watch, listener)

    def _accept(self, listener: socket.socket) -> bool:
        """Take one connection; tell whether there was one and may be another."""
        if len(self.server_state.connections) + len(self._opening) >= CONNECTIONS_MAXIMUM:
            self._pause(listener)
            return False
        try:
            connection, _address = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False  # another process was faster, or the client has gone
        except OSError as error:
            self._log.error("accept_failed", reason=error.strerror)
            self._pause(listener)
            return False
        connection.settimeout(0)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        loop = asyncio.get_running_loop()
        opening = loop.create_task(loop.connect_accepted_socket(self._make_protocol, connection))
        self._opening.add(opening)
        opening.add_done_callback(self._opened)
        return True

    def _opened(self, opening: asyncio.Task[object]) -> None:
        self._opening.discard(opening)
        if not opening.cancelled() and (error := opening.exception()) is not None:
            self._log.warning("connection_not_opened", reason=str(error))

    def _make_protocol(self) -> HttpToolsProtocol:
        return HttpToolsProtocol(self.config, self.server_state, self.lifespan.state)


class ApiRun:
    """One process's service of the API, from its start to its end.

    Parameters
    ----------
    listeners
        Bound sockets, perhaps shared with other processes.
    on_ready
        Called once requests are answered.
    """

    def __init__(
        self,
        settings: Settings,
        listeners: Sequence[socket.socket],
        *,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._listeners = listeners
        self._on_ready = on_ready
        self._server: ApiServer | None = None
        self._serving: asyncio.Task[None] | None = None
        self._is_stopping = False

    async def run(self) -> None:
        """Serve until `stop` is called, then finish the requests in flight.

        Raises
        ------
        StaleSchemaError, DatabaseUnavailable, TemporalUnavailable, RPCError
            The process cannot start, or its worker failed for good.
        """
        self._serving = asyncio.create_task(self._serve())
        try:
            await self._serving
        except asyncio.CancelledError:
            if not self._is_stopping:
                raise

    def stop(self) -> None:
        """Ask it to finish; where it has not started yet, it does not."""
        self._is_stopping = True
        if self._server is not None:
            self._server.should_exit = True
        elif self._serving is not None:
            self._serving.cancel()

    async def _serve(self) -> None:
        async with open_api(self._settings, on_failure=self.stop) as context:
            config = uvicorn.Config(
                create_app(context),
                http=HttpToolsProtocol,
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
            )
            self._server = ApiServer(config, self._listeners, self._on_ready)
            await self._server.serve()


def serve(settings: Settings) -> None:
    """Serve the API in this process until SIGTERM or SIGINT; a second one ends it at once.

    Raises
    ------
    PlaceTaken
        It cannot listen where it was told to.
    StaleSchemaError, DatabaseUnavailable, TemporalUnavailable, RPCError
        It cannot start.
    """
    place = settings.api_host, settings.api_port

    async def run(listeners: Sequence[socket.socket]) -> None:
        process = ApiRun(settings, listeners, on_ready=lambda: log_place(listeners))
        with stopping_on_signals(process.stop):
            await process.run()

    with bound_listeners(*place) as listeners:
        uvloop.run(run(listeners))


def log_place(listeners: Sequence[socket.socket]) -> None:
    """Say in the log where the API is served."""
    places = ["{}:{}".format(*listener.getsockname()) for listener in listeners]
    structlog.get_logger("api").info("api_ready", places=places)


def _is_answering(connection: HttpToolsProtocol) -> bool:
    cycle = connection.cycle
    # Before its first request a connection has none, whatever the annotation says.
    return bool(cycle) and not cycle.response_complete
