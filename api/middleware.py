"""What happens around every request, below FastAPI."""

import time
from http import HTTPStatus
from typing import Final
from uuid import uuid4

import structlog
from prometheus_client import Counter, Histogram
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from domain.limits import (
    BATCH_BODY_BYTES_MAXIMUM,
    CODEC_BODY_BYTES_MAXIMUM,
    REQUEST_BODY_BYTES_MAXIMUM,
)

BODY_BYTES_MAXIMUM_OF: Final = {
    "/v1/transfer-batches": BATCH_BODY_BYTES_MAXIMUM,
    "/codec/decode": CODEC_BODY_BYTES_MAXIMUM,
    "/codec/encode": CODEC_BODY_BYTES_MAXIMUM,
}

REQUEST_ID_HEADER: Final = b"x-request-id"

_REQUESTS: Final = Counter(
    "transfers_http_requests_total", "Requests answered.", ["method", "route", "status"]
)
_SECONDS: Final = Histogram(
    "transfers_http_request_seconds",
    "Time from a request's arrival to its answer.",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
)


class BodyLimit:
    """Refuses bodies that are too large as they come in, however they are sent.

    Over ``REQUEST_BODY_BYTES_MAXIMUM``, or what ``BODY_BYTES_MAXIMUM_OF`` gives the path.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        received_bytes = 0
        maximum = BODY_BYTES_MAXIMUM_OF.get(scope.get("path", ""), REQUEST_BODY_BYTES_MAXIMUM)

        async def limited() -> Message:
            nonlocal received_bytes
            message = await receive()
            received_bytes += len(message.get("body", b""))
            if received_bytes > maximum:
                raise HTTPException(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    f"The body may have {maximum} bytes at most.",
                )
            return message

        await self._app(scope, limited if scope["type"] == "http" else receive, send)


class Observation:
    """Gives each request an id, and counts, times and logs it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._log = structlog.get_logger("api")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = uuid4().hex
        started = time.perf_counter()
        status = int(HTTPStatus.INTERNAL_SERVER_ERROR)

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message["headers"],
                    (REQUEST_ID_HEADER, request_id.encode()),
                ]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, observed)
            finally:
                seconds = time.perf_counter() - started
                # The route's pattern, not the path: ids would make a series each.
                route = getattr(scope.get("route"), "path", "unknown")
                _REQUESTS.labels(scope["method"], route, status).inc()
                _SECONDS.labels(scope["method"], route).observe(seconds)
                self._log.debug(
                    "request",
                    method=scope["method"],
                    route=route,
                    status=status,
                    milliseconds=round(seconds * 1000, 1),
                )
