"""A span around every request, as a part of its client's trace where that is told."""

from http import HTTPStatus
from typing import Final

import structlog
from opentelemetry import propagate, trace
from opentelemetry.semconv.attributes.http_attributes import (
    HTTP_REQUEST_METHOD,
    HTTP_RESPONSE_STATUS_CODE,
    HTTP_ROUTE,
)
from opentelemetry.trace import SpanKind, StatusCode
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.middleware import route_of

_TRACER: Final = trace.get_tracer("transfers.api")


class Tracing:
    """Opens a span for each request. Without a collector it costs microseconds and does nothing.

    Notes
    -----
    A span has the route's pattern and never the address as it was sent: that names accounts.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in _told(scope)}
        with _TRACER.start_as_current_span(
            scope["method"],
            context=propagate.extract(carrier) if carrier else None,
            kind=SpanKind.SERVER,
            attributes={HTTP_REQUEST_METHOD: scope["method"]},
        ) as span:

            async def observed(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute(HTTP_RESPONSE_STATUS_CODE, message["status"])
                    if message["status"] >= HTTPStatus.INTERNAL_SERVER_ERROR:
                        span.set_status(StatusCode.ERROR)
                await send(message)

            try:
                await self._app(scope, receive, observed)
            finally:
                route = route_of(scope)
                span.update_name(f"{scope['method']} {route}")
                span.set_attribute(HTTP_ROUTE, route)


def note(**ids: object) -> None:
    """Say in the logs and on the span of this request what it is about."""
    named = {name: str(value) for name, value in ids.items()}
    structlog.contextvars.bind_contextvars(**named)
    span = trace.get_current_span()
    if span.is_recording():
        span.set_attributes({f"transfers.{name}": value for name, value in named.items()})


def _told(scope: Scope) -> list[tuple[bytes, bytes]]:
    return [header for header in scope["headers"] if header[0] in {b"traceparent", b"tracestate"}]
