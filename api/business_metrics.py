"""What is under way as Prometheus metrics, in the terms of the business."""

from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from api.context import Dependencies
from api.gauges import Pace, gauge
from domain.errors import DatabaseUnavailable
from domain.figures import ServiceFigures
from domain.states import TransferStage
from services.figures import FigureService

_PROCESSING: Final = gauge("transfers_processing", "Transfers under way, by stage.", "stage")
_OLDEST: Final = gauge(
    "transfers_processing_oldest_seconds", "Age of the oldest transfer under way.", "stage"
)
_OVERDUE: Final = gauge(
    "transfers_overdue", "Transfers that should have moved on a while ago.", "stage"
)
_HOLDS: Final = gauge("transfers_open_holds", "Open holds of transfers under way.", "currency")
_HELD: Final = gauge("transfers_held_minor_units", "Money that is held.", "currency")
_BATCHES: Final = gauge("transfers_batches_processing", "Batches under way.")
_ROWS: Final = gauge("transfers_batch_rows_pending", "Their rows without an outcome.")
_ARCHIVING: Final = gauge("transfers_wal_archiving", "1 where PostgreSQL archives its log.")
_ARCHIVED: Final = gauge(
    "transfers_wal_archived_timestamp_seconds",
    "When PostgreSQL last archived a part of its log; 0 before the first time.",
)
_DATABASE: Final = gauge("transfers_database_up", "1 where PostgreSQL answers.")
_TEMPORAL: Final = gauge("transfers_temporal_up", "1 where Temporal answers.")
_POLLERS: Final = gauge("transfers_task_queue_pollers", "Workers that poll for workflow tasks.")


class BusinessMetrics:
    """Brings the gauges up to date when they are read."""

    def __init__(self) -> None:
        self._pace = Pace()

    async def refresh(
        self, figures: FigureService, look: Callable[[], Awaitable[Dependencies]]
    ) -> None:
        """Read what is under way, unless that was done a moment ago.

        Parameters
        ----------
        look
            Tells whether PostgreSQL, Temporal and workers are there.

        Notes
        -----
        Without the database the figures stay what they were.
        """
        if not self._pace.is_due():
            return
        dependencies = await look()
        _DATABASE.set(dependencies.is_database_there)
        _TEMPORAL.set(dependencies.pollers is not None)
        if dependencies.pollers is not None:
            _POLLERS.set(dependencies.pollers)
        try:
            self._set(await figures.now())
        except DatabaseUnavailable:
            structlog.get_logger("metrics").warning("business_metrics_not_refreshed")

    @staticmethod
    def _set(figures: ServiceFigures) -> None:
        by_stage = {figure.stage: figure for figure in figures.stages}
        for stage in TransferStage:
            found = by_stage.get(stage)
            _PROCESSING.labels(stage).set(found.count if found else 0)
            _OLDEST.labels(stage).set(found.oldest_seconds if found else 0)
            _OVERDUE.labels(stage).set(found.overdue if found else 0)
        for held in figures.held:
            _HOLDS.labels(held.currency).set(held.holds)
            _HELD.labels(held.currency).set(held.held_minor)
        _BATCHES.set(figures.batches.batches)
        _ROWS.set(figures.batches.rows)
        _ARCHIVING.set(figures.archive.is_on)
        _ARCHIVED.set(figures.archive.archived_at)
