"""What is stuck as Prometheus metrics: searched for in the background, while metrics are read."""

import asyncio
import time
from collections import Counter
from typing import Final

import structlog

from api.gauges import Pace, gauge
from domain.errors import DatabaseUnavailable
from domain.limits import STUCK_EXAMINED_MAXIMUM
from domain.stuck import StuckCause, StuckKind
from persistence.stuck import StuckFilter, StuckOrder
from services.stuck import StuckPage, StuckService

SEARCH_INTERVAL_SECONDS: Final = 30.0
"""A process searches no more often, however often it is scraped, and not at all where it is not."""

SEARCH_SECONDS_MAXIMUM: Final = 25.0

_STUCK: Final = gauge(
    "transfers_stuck", "What is stuck, of all tenants, by kind and cause.", "kind", "cause"
)
_SEARCHED: Final = gauge(
    "transfers_stuck_searched_timestamp_seconds",
    "When the last search for what is stuck came to its end; 0 before the first.",
)
_COMPLETE: Final = gauge(
    "transfers_stuck_search_complete",
    "1 where that search saw everything; 0 where more may be stuck than it counted.",
)


class StuckMetrics:
    """Searches now and then, so that whoever reads the metrics never waits for it.

    Notes
    -----
    A search looks at ``STUCK_EXAMINED_MAXIMUM`` candidates, the oldest ones first. It is cut off
    after ``SEARCH_SECONDS_MAXIMUM``: then the counts stay what they were, and its time tells.
    """

    def __init__(self) -> None:
        self._pace = Pace(SEARCH_INTERVAL_SECONDS)
        self._search: asyncio.Task[None] | None = None

    def refresh(self, stuck: StuckService) -> None:
        """Begin a search, unless one has begun a while ago."""
        if self._pace.is_due():
            self._search = asyncio.create_task(_search(stuck))


async def _search(stuck: StuckService) -> None:
    try:
        async with asyncio.timeout(SEARCH_SECONDS_MAXIMUM):
            page = await stuck.page(
                StuckFilter(), StuckOrder.AGE, after=None, limit=STUCK_EXAMINED_MAXIMUM
            )
    except (DatabaseUnavailable, TimeoutError) as error:
        structlog.get_logger("metrics").warning(
            "stuck_metrics_not_refreshed", reason=type(error).__name__
        )
        return
    _set(page)


def _set(page: StuckPage) -> None:
    found = Counter((item.candidate.kind, item.cause) for item in page.items)
    for kind in StuckKind:
        for cause in StuckCause:
            _STUCK.labels(kind, cause).set(found[kind, cause])
    _COMPLETE.set(page.is_complete and page.next_position is None)
    _SEARCHED.set(time.time())
