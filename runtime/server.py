"""The API as an HTTP server."""

import gc
from typing import Final

import uvicorn

from api.app import create_app
from runtime.composition import open_api
from runtime.settings import Settings

GRACEFUL_SHUTDOWN_SECONDS: Final = 35
"""What a stopping server gives its requests: a little more than the longest wait of a POST."""

KEEP_ALIVE_SECONDS: Final = 65
BACKLOG: Final = 2048


def serve(settings: Settings) -> None:
    """Serve the API until SIGTERM or SIGINT, then finish the requests in flight."""
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(lambda: open_api(settings)),
            host=settings.api_host,
            port=settings.api_port,
            loop="uvloop",
            http="httptools",
            lifespan="on",
            access_log=False,
            log_config=None,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_SECONDS,
        )
    )
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    server.run()
    if not server.started:
        raise SystemExit(1)
