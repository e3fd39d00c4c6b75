"""Traces of a process, sent by OTLP. What it loads is large: only where a collector is named."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Final
from urllib.parse import urlsplit

import structlog
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.semconv.attributes.exception_attributes import EXCEPTION_TYPE
from opentelemetry.trace import Status
from temporalio.client import Interceptor
from temporalio.contrib.opentelemetry import TracingInterceptor

from services.identifiers import new_uuid

TRACES_PATH: Final = "/v1/traces"
"""Where a collector takes traces over HTTP, as OTLP says."""


EXPORT_SECONDS: Final = 5.0
"""What one sending of spans may take, tries included; those behind it wait in memory."""

EXCEPTION_EVENT: Final = "exception"


class DiscreetExporter(SpanExporter):
    """Sends spans on without what errors say: PostgreSQL's quote rows, and those have names.

    The type of an error stays.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans on."""
        return self._exporter.export([_without_messages(span) for span in spans])

    def shutdown(self) -> None:
        """Send nothing any more."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what is left."""
        return self._exporter.force_flush(timeout_millis)


def _without_messages(span: ReadableSpan) -> ReadableSpan:
    if span.status.description is None and not span.events:
        return span
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=span.attributes,
        events=[_without_message(event) for event in span.events],
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _without_message(event: Event) -> Event:
    if event.name != EXCEPTION_EVENT or event.attributes is None:
        return event
    kind = event.attributes.get(EXCEPTION_TYPE, "")
    return Event(event.name, {EXCEPTION_TYPE: kind}, event.timestamp)


@asynccontextmanager
async def exporting(
    collector: str, *, part: str, sample_ratio: float
) -> AsyncIterator[Sequence[Interceptor]]:
    """Trace what this process does while the block lasts.

    Parameters
    ----------
    collector
        Its base URL.
    part
        What the process is, as in ``transfers-api``.
    sample_ratio
        Share of traces that are kept where a request does not say, 0 to 1.

    Yields
    ------
    Sequence[Interceptor]
        With these a client, and its worker, carry traces on.
    """
    provider = TracerProvider(
        resource=Resource.create(
            {
                SERVICE_NAME: f"transfers-{part}",
                SERVICE_VERSION: version("durable-transfers"),
                SERVICE_INSTANCE_ID: str(new_uuid()),
            }
        ),
        sampler=ParentBasedTraceIdRatio(sample_ratio),
    )
    exporter = OTLPSpanExporter(
        endpoint=collector.rstrip("/") + TRACES_PATH, timeout=EXPORT_SECONDS
    )
    provider.add_span_processor(BatchSpanProcessor(DiscreetExporter(exporter)))
    trace.set_tracer_provider(provider)
    statements = PsycopgInstrumentor()
    statements.instrument(tracer_provider=provider)
    structlog.get_logger("tracing").info("tracing", collector=urlsplit(collector).hostname)
    try:
        yield (TracingInterceptor(),)
    finally:
        statements.uninstrument()
        # It sends what is left, and may wait for the collector: not on the loop.
        await asyncio.to_thread(provider.shutdown)
