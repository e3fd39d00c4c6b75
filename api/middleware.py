"""What happens around every request, below FastAPI."""

import logging
import re
import time
from http import HTTPStatus
from typing import Final
from uuid import uuid4

import structlog
from prometheus_client import Counter, Histogram
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import unexpected_response
from domain.limits import (
    BATCH_BODY_BYTES_MAXIMUM,
    CODEC_BODY_BYTES_MAXIMUM,
    REQUEST_BODY_BYTES_MAXIMUM,
    REQUEST_ID_LENGTH_MAXIMUM,
)

BODY_BYTES_MAXIMUM_OF: Final = {
    "/v1/transfer-batches": BATCH_BODY_BYTES_MAXIMUM,
    "/codec/decode": CODEC_BODY_BYTES_MAXIMUM,
    "/codec/encode": CODEC_BODY_BYTES_MAXIMUM,
}

NO_ROUTE: Final = "unknown"
REQUEST_ID_HEADER: Final = b"x-request-id"
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,%d}" % REQUEST_ID_LENGTH_MAXIMUM)

DOCUMENTATION_PATH: Final = "/docs"
CONTENT_POLICY_HEADER: Final = b"content-security-policy"
ANSWER_POLICY: Final = b"default-src 'none'; frame-ancestors 'none'"
DOCUMENTATION_POLICY: Final = (
    b"default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline';"
    b" img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none';"
    b" frame-ancestors 'none'"
)
"""The page comes with one script of its own in it, and shows nothing that a client has written."""

_SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
)
_STRICT_TRANSPORT: Final = (b"strict-transport-security", b"max-age=31536000")

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
    """Gives each request an id and each answer its headers; counts, times and logs them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._log = structlog.get_logger("api")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        started = time.perf_counter()
        status = 0

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *_secured(message["headers"], scope),
                    (REQUEST_ID_HEADER, request_id.encode()),
                    *state.get("rate_headers", ()),
                ]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, observed)
            except Exception as error:
                self._log.error(
                    "unexpected_error", path=route_of(scope), method=scope["method"], exc_info=error
                )
                if status:
                    raise  # the answer has begun: only the connection's end tells that it is wrong
                await unexpected_response()(scope, receive, observed)
            finally:
                seconds = time.perf_counter() - started
                route = route_of(scope)
                answered = status or int(HTTPStatus.INTERNAL_SERVER_ERROR)
                _REQUESTS.labels(scope["method"], route, answered).inc()
                _SECONDS.labels(scope["method"], route).observe(seconds)
                # What is refused for too much load has reached no route: it is counted alone.
                is_ours = answered >= HTTPStatus.INTERNAL_SERVER_ERROR and route != NO_ROUTE
                self._log.log(
                    logging.WARNING if is_ours else logging.DEBUG,
                    "request",
                    method=scope["method"],
                    route=route,
                    status=answered,
                    milliseconds=round(seconds * 1000, 1),
                )


def _secured(headers: list[tuple[bytes, bytes]], scope: Scope) -> list[tuple[bytes, bytes]]:
    """Tell browsers to take an answer for what it is, to keep none, and to show none in frames.

    What a route says itself stands.
    """
    said = {name for name, _ in headers}
    added = [header for header in _SECURITY_HEADERS if header[0] not in said]
    if CONTENT_POLICY_HEADER not in said:
        is_page = scope["path"] == DOCUMENTATION_PATH
        added.append((CONTENT_POLICY_HEADER, DOCUMENTATION_POLICY if is_page else ANSWER_POLICY))
    if scope["scheme"] == "https":
        added.append(_STRICT_TRANSPORT)
    return [*headers, *added]


def _request_id(scope: Scope) -> str:
    """Take the id that the client gave, where it is one, and make one else."""
    for name, value in scope["headers"]:
        if name == REQUEST_ID_HEADER and _REQUEST_ID.fullmatch(value):
            return str(value, "ascii")
    return uuid4().hex


def route_of(scope: Scope) -> str:
    """Give the pattern of the route that was taken, in place of a path: that has ids in it."""
    return str(getattr(scope.get("route"), "path", NO_ROUTE))
