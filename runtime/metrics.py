"""What a process counts about transfers, and where a worker shows it."""

from typing import Final

import structlog
from prometheus_client import (
    PLATFORM_COLLECTOR,
    PROCESS_COLLECTOR,
    CollectorRegistry,
    Counter,
    Histogram,
    start_http_server,
)

from domain.errors import ResolvedByOperator, WorkflowTerminated
from domain.states import ProcessState
from domain.transfers import Transfer
from runtime.settings import Settings
from services.chunk_decision import OutcomeCounts

NO_CODE: Final = ""
NOT_BY_RULES: Final = frozenset({ResolvedByOperator.code, WorkflowTerminated.code})
"""Transfers with these have failed for another reason than a refusal by the rules of business."""


class MetricsPlaceTaken(Exception):
    """Metrics cannot be served where they are to be."""


_OUTCOMES: Final = Counter(
    "transfers_outcomes_total",
    "Transfers that this process has brought to their end.",
    ["type", "state", "code"],
)
_SECONDS: Final = Histogram(
    "transfers_duration_seconds",
    "Time from a transfer's acceptance to its end, apart from those of batches.",
    ["type"],
    buckets=(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 600, 3600, 86400),
)


def count_outcome(transfer: Transfer) -> None:
    """Count a transfer that has come to its end, and log one that failed of no rule of business.

    Notes
    -----
    A step that is repeated after its answer was lost counts twice: the ledger is the place for
    exact figures.
    """
    if transfer.completed_at is None:
        return
    code = transfer.failure.code if transfer.failure else NO_CODE
    _OUTCOMES.labels(transfer.type, transfer.state, code).inc()
    _SECONDS.labels(transfer.type).observe(
        (transfer.completed_at - transfer.created_at).total_seconds()
    )
    if code in NOT_BY_RULES:
        structlog.get_logger("transfers").warning(
            "transfer_failed",
            tenant_id=str(transfer.tenant_id),
            transfer_id=str(transfer.id),
            workflow_id=transfer.workflow_id,
            code=code,
        )


def count_rows(counts: OutcomeCounts) -> None:
    """Count the transfers of a chunk of a batch.

    Notes
    -----
    Each is recorded with its end, and so has no time between the two. A chunk whose commit was not
    answered is not counted, and is not posted again.
    """
    for (transfer_type, code), number in counts.items():
        state = ProcessState.SUCCESS if code is None else ProcessState.FAILED
        _OUTCOMES.labels(transfer_type, state, code or NO_CODE).inc(number)


def serve_metrics(settings: Settings) -> None:
    """Serve a worker's metrics to Prometheus, where a port is set for them.

    Raises
    ------
    MetricsPlaceTaken
        Nothing can listen there.

    Notes
    -----
    What is under way is in the API's metrics alone: here those gauges would stand at 0.
    """
    if settings.worker_metrics_port is None:
        return
    registry = CollectorRegistry()
    for collector in (_OUTCOMES, _SECONDS, PROCESS_COLLECTOR, PLATFORM_COLLECTOR):
        registry.register(collector)
    place = f"{settings.api_host}:{settings.worker_metrics_port}"
    try:
        start_http_server(settings.worker_metrics_port, addr=settings.api_host, registry=registry)
    except OSError as error:
        raise MetricsPlaceTaken(f"WORKER_METRICS_PORT: {place}: {error.strerror}") from error
