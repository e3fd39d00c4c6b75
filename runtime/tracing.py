"""Traces: from a request through its workflow and activities to SQL, sent by OTLP."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Final

import structlog
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from temporalio.client import Interceptor
from temporalio.contrib.opentelemetry import TracingInterceptor

from runtime.settings import Settings
from services.identifiers import new_uuid

TRACES_PATH: Final = "/v1/traces"
"""Where a collector takes traces over HTTP, as OTLP says."""


@asynccontextmanager
async def tracing(settings: Settings, part: str) -> AsyncIterator[Sequence[Interceptor]]:
    """Trace what this process does while the block lasts, where a collector is named.

    Parameters
    ----------
    part
        What the process is, as in ``transfers-api``.

    Yields
    ------
    Sequence[Interceptor]
        With these a client, and its worker, carry traces on; none where nothing is traced.

    Notes
    -----
    A span of SQL has the statement and never its values. Where the collector is away spans are
    lost, and nothing else. Call before connections are opened: later ones alone are traced.
    """
    if settings.otlp_endpoint is None:
        yield ()
        return
    provider = TracerProvider(
        resource=Resource.create(
            {
                SERVICE_NAME: f"transfers-{part}",
                SERVICE_VERSION: version("durable-transfers"),
                SERVICE_INSTANCE_ID: str(new_uuid()),
            }
        ),
        sampler=ParentBasedTraceIdRatio(settings.otlp_sample_ratio),
    )
    endpoint = settings.otlp_endpoint.rstrip("/") + TRACES_PATH
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    trace.set_tracer_provider(provider)
    statements = PsycopgInstrumentor()
    statements.instrument(tracer_provider=provider)
    structlog.get_logger("tracing").info("tracing", endpoint=endpoint)
    try:
        yield (TracingInterceptor(),)
    finally:
        statements.uninstrument()
        # It sends what is left, and may wait for the collector: not on the loop.
        await asyncio.to_thread(provider.shutdown)
