"""Traces: from a request through its workflow and activities to SQL."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from temporalio.client import Interceptor

from runtime.settings import Settings


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
    A span of SQL has the statement and never its values, and no span has an error's message. Where
    the collector is away spans are lost, and nothing else. Call before connections are opened:
    later ones alone are traced.
    """
    if settings.otlp_endpoint is None:
        yield ()
        return
    from runtime.trace_export import exporting  # noqa: PLC0415 - a fifth of a process's start

    async with exporting(
        settings.otlp_endpoint, part=part, sample_ratio=settings.otlp_sample_ratio
    ) as interceptors:
        yield interceptors
