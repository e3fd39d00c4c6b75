"""Figures of a tenant's transfers over time, each from a bounded number of rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Interval, RowMapping, Uuid, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import TenantId
from domain.states import TransferStage

# The newest of the tenant from its index, whose ids are in the order of their making. Latency is
# told of what nobody has to wait for: no approval, no time to come, no manual capture, no batch.
_EXAMINED: Final = """
WITH examined AS (
    SELECT state, failure_code, created_at, completed_at,
        state = 'SUCCESS' AND execute_at IS NULL AND approvals_required IS NULL
            AND captured_minor IS NULL AND batch_id IS NULL AS is_timed
    FROM transfers
    WHERE tenant_id = :tenant AND id >= :first
    ORDER BY id DESC
    LIMIT :maximum
)
"""
_ACTIVITY: Final = text(
    _EXAMINED
    + """
SELECT date_bin(:width, created_at, :start) AS starts_at,
    count(*) AS started,
    count(*) FILTER (WHERE state = 'SUCCESS') AS succeeded,
    count(*) FILTER (WHERE state = 'FAILED') AS failed,
    min(created_at) AS since,
    percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (
        ORDER BY extract(epoch FROM completed_at - created_at)
    ) FILTER (WHERE is_timed) AS seconds
FROM examined
WHERE created_at >= :start
GROUP BY GROUPING SETS ((1), ())
ORDER BY 1 NULLS LAST
"""
).bindparams(
    bindparam("tenant", type_=Uuid),
    bindparam("first", type_=Uuid),
    bindparam("width", type_=Interval),
)
_FAILURES: Final = text(
    _EXAMINED
    + """
SELECT failure_code, count(*) AS transfers
FROM examined WHERE state = 'FAILED' AND created_at >= :start
GROUP BY failure_code ORDER BY 2 DESC, 1 LIMIT :codes
"""
).bindparams(bindparam("tenant", type_=Uuid), bindparam("first", type_=Uuid))

# Only a transfer that is PROCESSING has an open hold, and few are: from their partial index.
_UNFINISHED: Final = text(
    """
SELECT stage, count(*) AS transfers, min(created_at) AS oldest_at
FROM (
    SELECT stage, created_at FROM transfers
    WHERE state = 'PROCESSING' AND tenant_id = :tenant ORDER BY id LIMIT :maximum
) AS unfinished
GROUP BY stage
"""
).bindparams(bindparam("tenant", type_=Uuid))
_HELD: Final = text(
    """
SELECT holds.currency, sum(holds.amount_minor - holds.captured_minor) AS held_minor,
    count(*) AS holds
FROM (
    SELECT id FROM transfers
    WHERE state = 'PROCESSING' AND tenant_id = :tenant ORDER BY id LIMIT :maximum
) AS unfinished
JOIN holds ON holds.transfer_id = unfinished.id AND holds.status = 'HELD'
GROUP BY holds.currency ORDER BY holds.currency
"""
).bindparams(bindparam("tenant", type_=Uuid))


@dataclass(frozen=True, slots=True)
class Activity:
    """What was started in a span of time, and what has become of it.

    Parameters
    ----------
    since
        When the first of it was started.
    seconds_p50, seconds_p95
        From the record to the outcome, of what succeeded and had to wait for nobody.
    """

    starts_at: datetime | None
    started: int
    succeeded: int
    failed: int
    since: datetime | None
    seconds_p50: float | None
    seconds_p95: float | None


@dataclass(frozen=True, slots=True)
class UnfinishedStage:
    """Transfers under way in a stage."""

    stage: TransferStage
    transfers: int
    oldest_at: datetime


@dataclass(frozen=True, slots=True)
class HeldMoney:
    """What open holds hold of a currency."""

    currency: str
    held_minor: int
    holds: int


@dataclass(frozen=True, slots=True)
class Span:
    """Which transfers are looked at.

    Parameters
    ----------
    first_id
        The lowest id that a transfer of the span can have.
    maximum
        Transfers at most, the newest.
    """

    tenant_id: TenantId
    start: datetime
    first_id: UUID
    maximum: int

    def parameters(self) -> Mapping[str, Any]:
        """Give the parameters of the statements."""
        return {
            "tenant": self.tenant_id,
            "start": self.start,
            "first": self.first_id,
            "maximum": self.maximum,
        }


class OverviewRepository:
    """Sums over ``transfers`` and ``holds``."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def activity(self, span: Span, width: timedelta) -> tuple[list[Activity], Activity]:
        """Count a span in steps of a width, without the empty ones, and as a whole."""
        result = await self._connection.execute(_ACTIVITY, {**span.parameters(), "width": width})
        *steps, whole = [_activity(row) for row in result.mappings()]
        return steps, whole

    async def failures(self, span: Span, codes: int) -> list[tuple[str, int]]:
        """Count the failed of a span by their codes, the most frequent first."""
        result = await self._connection.execute(_FAILURES, {**span.parameters(), "codes": codes})
        return [(row["failure_code"], row["transfers"]) for row in result.mappings()]

    async def unfinished(self, tenant_id: TenantId, maximum: int) -> list[UnfinishedStage]:
        """Count what is under way by its stage."""
        result = await self._connection.execute(
            _UNFINISHED, {"tenant": tenant_id, "maximum": maximum}
        )
        return [
            UnfinishedStage(TransferStage(row["stage"]), row["transfers"], row["oldest_at"])
            for row in result.mappings()
        ]

    async def held(self, tenant_id: TenantId, maximum: int) -> list[HeldMoney]:
        """Sum what is held, by currency."""
        result = await self._connection.execute(_HELD, {"tenant": tenant_id, "maximum": maximum})
        return [
            HeldMoney(row["currency"], int(row["held_minor"]), row["holds"])
            for row in result.mappings()
        ]


def _activity(row: RowMapping) -> Activity:
    p50, p95 = row["seconds"] or (None, None)
    return Activity(
        starts_at=row["starts_at"],
        started=row["started"],
        succeeded=row["succeeded"],
        failed=row["failed"],
        since=row["since"],
        seconds_p50=None if p50 is None else float(p50),
        seconds_p95=None if p95 is None else float(p95),
    )
