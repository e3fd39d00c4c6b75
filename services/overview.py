"""What an operator sees at a glance: how much goes through, how well, and what is under way."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from time import monotonic
from typing import Final

from domain.ids import TenantId, first_id_since
from domain.limits import OVERVIEW_TRANSFERS_MAXIMUM, SAMPLE_SECONDS
from persistence.database import Database, UnitOfWork
from persistence.overview import Activity, HeldMoney, Span, UnfinishedStage
from persistence.samples import Sampled

KEPT_SECONDS: Final = 2.0
"""How long an overview is shown again: however many look at it, it is made so often."""
KEPT_MAXIMUM: Final = 256
CODES_SHOWN_MAXIMUM: Final = 6
SAMPLE_WIDTH: Final = timedelta(seconds=SAMPLE_SECONDS)

ID_SLACK: Final = timedelta(minutes=5)
"""An id is drawn before its transfer is recorded, perhaps by a clock that is behind."""


class OverviewPeriod(StrEnum):
    """How far back an overview goes."""

    QUARTER_HOUR = "15m"
    HOUR = "1h"
    DAY = "24h"
    WEEK = "7d"


@dataclass(frozen=True, slots=True)
class Resolution:
    """A period's length, and that of its steps."""

    length: timedelta
    step: timedelta


RESOLUTIONS: Final = {
    OverviewPeriod.QUARTER_HOUR: Resolution(timedelta(minutes=15), timedelta(seconds=15)),
    OverviewPeriod.HOUR: Resolution(timedelta(hours=1), timedelta(minutes=1)),
    OverviewPeriod.DAY: Resolution(timedelta(days=1), timedelta(minutes=30)),
    OverviewPeriod.WEEK: Resolution(timedelta(days=7), timedelta(hours=3)),
}


@dataclass(frozen=True, slots=True)
class SampledStep:
    """A step of a period, and the highest that was sampled in it; ``None`` without any sample."""

    starts_at: datetime
    sampled: Sampled | None


@dataclass(frozen=True, slots=True)
class Overview:
    """A tenant's transfers in a period, and what is under way now.

    Parameters
    ----------
    steps
        All steps of the period, those without transfers too.
    sampled
        All steps of the period, those without a sample too, but for one that has just begun.
    sampled_step
        Their length: never shorter than what one sample stands for.
    is_cut
        There were more transfers than ``OVERVIEW_TRANSFERS_MAXIMUM``: the figures are those of the
        newest, since ``whole.since``.
    """

    period: OverviewPeriod
    step: timedelta
    steps: Sequence[Activity]
    sampled: Sequence[SampledStep]
    sampled_step: timedelta
    whole: Activity
    is_cut: bool
    failures: Sequence[tuple[str, int]]
    unfinished: Sequence[UnfinishedStage]
    held: Sequence[HeldMoney]
    made_at: datetime

    @property
    def in_flight(self) -> int:
        """Transfers under way."""
        return sum(stage.transfers for stage in self.unfinished)

    @property
    def success_share(self) -> float | None:
        """The part of the finished that succeeded, 0 to 1; ``None`` where none is finished."""
        finished = self.whole.succeeded + self.whole.failed
        return self.whole.succeeded / finished if finished else None


class OverviewService:
    """Makes overviews, and keeps each for a moment."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: dict[tuple[TenantId, OverviewPeriod], tuple[float, Overview]] = {}
        self._making = asyncio.Lock()

    async def read(self, tenant_id: TenantId, period: OverviewPeriod) -> Overview:
        """Give a tenant's overview, at most ``KEPT_SECONDS`` old.

        Raises
        ------
        DatabaseUnavailable
            No connection, or it took too long.

        Notes
        -----
        One is made at a time. Each reads ``OVERVIEW_TRANSFERS_MAXIMUM`` transfers at most, from the
        tenant's index, and the samples of the period.
        """
        async with self._making:
            made_at, overview = self._kept.get((tenant_id, period), (0.0, None))
            if overview is not None and monotonic() - made_at < KEPT_SECONDS:
                return overview
            overview = await self._make(tenant_id, period)
            if len(self._kept) >= KEPT_MAXIMUM:
                self._kept.clear()
            self._kept[tenant_id, period] = monotonic(), overview
        return overview

    async def _make(self, tenant_id: TenantId, period: OverviewPeriod) -> Overview:
        resolution = RESOLUTIONS[period]
        now = datetime.now(UTC)
        start = _start(now, resolution.length, resolution.step)
        maximum = OVERVIEW_TRANSFERS_MAXIMUM
        span = Span(tenant_id, start, first_id_since(start - ID_SLACK), maximum)
        async with self._database.reading(tenant_id) as unit_of_work:
            overview = unit_of_work.overview
            found, whole = await overview.activity(span, resolution.step)
            failures = await overview.failures(span, CODES_SHOWN_MAXIMUM)
            unfinished = await overview.unfinished(tenant_id, maximum)
            held = await overview.held(tenant_id, maximum)
            sampled_step = max(resolution.step, SAMPLE_WIDTH)
            sampled = await _sampled(unit_of_work, tenant_id, resolution.length, sampled_step)
        return Overview(
            period=period,
            step=resolution.step,
            steps=_filled(found, start, resolution),
            sampled=sampled,
            sampled_step=sampled_step,
            whole=whole,
            is_cut=whole.started >= maximum,
            failures=failures,
            unfinished=unfinished,
            held=held,
            made_at=now,
        )


def _start(now: datetime, length: timedelta, step: timedelta) -> datetime:
    """Tell when a span of whole steps begins whose last one is under way."""
    seconds = int(step.total_seconds())
    begun_at = datetime.fromtimestamp(int(now.timestamp()) // seconds * seconds, UTC)
    return begun_at + step - length


def _moments(start: datetime, length: timedelta, step: timedelta) -> list[datetime]:
    return [start + number * step for number in range(length // step)]


def _filled(
    found: Sequence[Activity], start: datetime, resolution: Resolution
) -> tuple[Activity, ...]:
    """Put the steps in which nothing was started between the others."""
    by_start = {activity.starts_at: activity for activity in found}
    return tuple(
        by_start.get(moment) or Activity(moment, 0, 0, 0, None, None, None)
        for moment in _moments(start, resolution.length, resolution.step)
    )


async def _sampled(
    unit_of_work: UnitOfWork, tenant_id: TenantId, length: timedelta, step: timedelta
) -> tuple[SampledStep, ...]:
    """Read samples in steps; the one under way is left out until it has one."""
    start = _start(datetime.now(UTC), length, step)
    found = await unit_of_work.samples.steps(tenant_id, start, step)
    steps = [SampledStep(moment, found.get(moment)) for moment in _moments(start, length, step)]
    return tuple(steps if steps[-1].sampled else steps[:-1])
