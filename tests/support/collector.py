"""A collector of traces: what OTLP over HTTP sends, taken in by the test's own process."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from runtime.ports import LOOPBACK
from tests.support.waiting import until

TRACES_PATH: Final = "/v1/traces"


@dataclass(frozen=True, slots=True)
class Span:
    """A span as it was received; its message is all that its error and its events say."""

    service: str
    trace_id: str
    span_id: str
    parent_id: str
    name: str
    attributes: dict[str, Any]
    is_error: bool
    message: str


@dataclass(slots=True)
class Collector:
    """What has come in."""

    url: str = ""
    spans: list[Span] = field(default_factory=list)
    raw: bytes = b""

    def of_trace(self, trace_id: str) -> list[Span]:
        return [span for span in self.spans if span.trace_id == trace_id]

    def names(self, trace_id: str) -> set[str]:
        return {span.name for span in self.of_trace(trace_id)}

    async def has(self, trace_id: str, wanted: Sequence[str]) -> None:
        """Wait until a trace has spans of these names."""

        async def complete() -> bool:
            return self.names(trace_id) >= set(wanted)

        await until(complete)

    def take(self, body: bytes) -> None:
        self.raw += body
        request = ExportTraceServiceRequest.FromString(body)
        for group in request.resource_spans:
            named = {each.key: each.value.string_value for each in group.resource.attributes}
            for scope in group.scope_spans:
                self.spans += [
                    Span(
                        service=named["service.name"],
                        trace_id=span.trace_id.hex(),
                        span_id=span.span_id.hex(),
                        parent_id=span.parent_span_id.hex(),
                        name=span.name,
                        attributes={each.key: each.value for each in span.attributes},
                        is_error=span.status.code == span.status.STATUS_CODE_ERROR,
                        message=span.status.message
                        + "".join(
                            each.value.string_value
                            for event in span.events
                            for each in event.attributes
                            if each.key != "exception.type"
                        ),
                    )
                    for span in scope.spans
                ]


@asynccontextmanager
async def trace_collector() -> AsyncIterator[Collector]:
    """Take traces in while the block lasts."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            if self.path == TRACES_PATH:
                collector.take(body)
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    collector.url = f"http://{LOOPBACK}:{server.server_port}"
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield collector
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()
        thread.join()
