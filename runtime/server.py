"""One process of the API, from its start to its end."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from math import ceil
from typing import Final

import structlog
import uvicorn
import uvloop

from api.admission import AdmissionLimits
from api.app import HttpSurface, create_app
from api.rates import RATE_MEMORY_BYTES, RateTable
from runtime.composition import open_api
from runtime.cores import stay_on_core
from runtime.http_protocol import BoundedProtocol
from runtime.http_server import ApiServer, Place
from runtime.listeners import bound_listeners, place_of
from runtime.loading import settle_memory
from runtime.settings import Settings
from runtime.shared_memory import SharedMemory
from runtime.stop_signals import stopping_on_signals

KEEP_ALIVE_SECONDS: Final = 65


class ApiRun:
    """One process's service of the API, from its start to its end.

    Parameters
    ----------
    listeners
        Bound sockets, perhaps shared with other processes.
    on_ready
        Awaited once requests could be answered; connections are accepted after it.
    place
        Its place among several processes, if any.
    """

    def __init__(
        self,
        settings: Settings,
        listeners: Sequence[socket.socket],
        *,
        on_ready: Callable[[], Awaitable[None]],
        place: Place | None = None,
    ) -> None:
        self._settings = settings
        self._listeners = listeners
        self._place = place
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
        shared = self._place.rates if self._place else SharedMemory.of_zeros(RATE_MEMORY_BYTES)
        rates = RateTable(shared.bytes)
        async with open_api(self._settings, rates=rates, on_failure=self.stop) as context:
            limits = AdmissionLimits(
                transfers=ceil(
                    self._settings.api_transfers_in_flight_maximum / self._settings.api_workers
                ),
                others=self._settings.api_requests_in_flight_maximum,
            )
            config = uvicorn.Config(
                create_app(context, limits, _surface(self._settings)),
                http=BoundedProtocol,
                proxy_headers=bool(self._settings.api_trusted_proxies),
                forwarded_allow_ips=self._settings.api_trusted_proxies or None,
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
            )
            settle_memory()
            await self._on_ready()
            self._server = ApiServer(config, self._listeners, self._place)
            await self._server.serve()
        structlog.get_logger("api").info("api_stopped")


def serve(settings: Settings) -> None:
    """Serve the API in this process until SIGTERM or SIGINT; a second one ends it at once.

    Raises
    ------
    PlaceTaken
        It cannot listen where it was told to.
    StaleSchemaError, DatabaseUnavailable, TemporalUnavailable, RPCError
        It cannot start.
    """
    if settings.api_pin_to_cores:
        stay_on_core(0)
    place = settings.api_host, settings.api_port

    async def run(listeners: Sequence[socket.socket]) -> None:
        async def on_ready() -> None:
            log_place(listeners)

        process = ApiRun(settings, listeners, on_ready=on_ready)
        with stopping_on_signals(process.stop):
            await process.run()

    with bound_listeners(*place) as listeners:
        uvloop.run(run(listeners))


def log_place(listeners: Sequence[socket.socket]) -> None:
    """Say in the log where the API is served."""
    structlog.get_logger("api").info("api_ready", places=[*map(place_of, listeners)])


def _surface(settings: Settings) -> HttpSurface:
    """Say what browsers and the documentation are told."""
    return HttpSurface(
        cors_origins=tuple(
            origin.strip() for origin in settings.api_cors_origins.split(",") if origin.strip()
        ),
        issuer=settings.oidc_issuer,
    )
