"""Samples of what no record tells afterwards, and what they tell of a span of time.

A sample stands for a slot of time. ``service_samples`` has a row for each that was taken, and the
others only rows of what there was: a tenant without one had nothing under way in that slot.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Interval, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import TenantId
from domain.limits import SAMPLE_SECONDS, SAMPLES_KEPT_SECONDS, SAMPLES_REMOVED_MAXIMUM
from domain.stuck import StuckCount
from persistence.tables.samples import service_samples

_SLOT: Final = f"date_bin('{SAMPLE_SECONDS} s', statement_timestamp(), 'epoch')"
_DUE: Final = text(
    f"SELECT now.slot_at FROM (SELECT {_SLOT} AS slot_at) AS now WHERE NOT EXISTS"  # noqa: S608
    " (SELECT FROM service_samples AS taken WHERE taken.slot_at = now.slot_at)"
)
_TENANTS: Final = text(
    """
INSERT INTO tenant_samples (slot_at, tenant_id, in_flight, stuck)
SELECT :slot, tenant_id, coalesce(in_flight, 0), coalesce(stuck, 0)
FROM (
    SELECT tenant_id, count(*) AS in_flight FROM transfers
    WHERE state = 'PROCESSING' GROUP BY tenant_id
) AS flying
FULL JOIN unnest(CAST(:tenants AS uuid[]), CAST(:counts AS integer[])) AS found (tenant_id, stuck)
    USING (tenant_id)
"""
)
# Only a transfer that is PROCESSING has an open hold, and few are: from their partial index.
_HELD: Final = text(
    """
INSERT INTO held_samples (slot_at, tenant_id, currency, held_minor)
SELECT :slot, transfer.tenant_id, hold.currency, sum(hold.amount_minor - hold.captured_minor)
FROM transfers AS transfer
JOIN holds AS hold ON hold.transfer_id = transfer.id AND hold.status = 'HELD'
WHERE transfer.state = 'PROCESSING'
GROUP BY transfer.tenant_id, hold.currency
"""
)
_REMOVE: Final = text(
    """
DELETE FROM service_samples WHERE slot_at IN (
    SELECT slot_at FROM service_samples
    WHERE slot_at < statement_timestamp() - make_interval(secs => :kept_seconds)
    ORDER BY slot_at LIMIT :maximum
)
"""
)
_STEPS: Final = text(
    """
SELECT date_bin(:width, taken.slot_at, :start) AS starts_at,
    max(coalesce(own.in_flight, 0)) AS in_flight,
    max(taken.stuck) AS stuck,
    max(coalesce(own.stuck, 0)) FILTER (WHERE taken.stuck IS NOT NULL) AS own_stuck,
    bool_and(taken.is_stuck_whole) AS is_stuck_whole,
    max(taken.violations) AS violations,
    max(taken.proof_age_seconds) AS proof_age_seconds
FROM service_samples AS taken
LEFT JOIN tenant_samples AS own ON own.tenant_id = :tenant AND own.slot_at = taken.slot_at
WHERE taken.slot_at >= :start
GROUP BY 1
"""
).bindparams(bindparam("tenant", type_=Uuid), bindparam("width", type_=Interval))
_HELD_STEPS: Final = text(
    """
SELECT date_bin(:width, slot_at, :start) AS starts_at, currency, max(held_minor) AS held_minor
FROM held_samples
WHERE tenant_id = :tenant AND slot_at >= :start
GROUP BY 1, 2
"""
).bindparams(bindparam("tenant", type_=Uuid), bindparam("width", type_=Interval))


@dataclass(frozen=True, slots=True)
class ProofSample:
    """What was known of the invariants.

    Parameters
    ----------
    violations
        Known and not resolved.
    age_seconds
        Since the whole ledger was last proved for all of them; ``None`` where it never was.
    """

    violations: int
    age_seconds: int | None


@dataclass(frozen=True, slots=True)
class Sampled:
    """The highest of what a step's samples tell of a tenant and of the whole service.

    Parameters
    ----------
    stuck, own_stuck
        Of all tenants, and of the one; ``None`` where no sample knows.
    is_stuck_whole
        Whether no sample says that it was so much at least.
    held_minor
        By currency, without those of which nothing was held.
    """

    in_flight: int
    stuck: int | None
    own_stuck: int | None
    is_stuck_whole: bool | None
    violations: int
    proof_age_seconds: int | None
    held_minor: Mapping[str, int] = field(default_factory=dict)


class SampleRepository:
    """Rows of ``service_samples``, ``tenant_samples`` and ``held_samples``."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def due(self) -> datetime | None:
        """Give the slot of the present moment; ``None`` where its sample was taken."""
        slot_at: datetime | None = await self._connection.scalar(_DUE)
        return slot_at

    async def insert(
        self, slot_at: datetime, stuck: StuckCount | None, proofs: ProofSample
    ) -> bool:
        """Write the sample of a slot, with what is under way and held now, of all tenants.

        Parameters
        ----------
        stuck
            ``None`` where that is not known.

        Returns
        -------
        bool
            Whether there was none yet: else nothing is written.
        """
        taken = await self._connection.execute(
            insert(service_samples)
            .values(
                slot_at=slot_at,
                stuck=None if stuck is None else sum(stuck.by_tenant.values()),
                is_stuck_whole=None if stuck is None else stuck.is_whole,
                violations=proofs.violations,
                proof_age_seconds=proofs.age_seconds,
            )
            .on_conflict_do_nothing()
            .returning(service_samples.c.slot_at)
        )
        if taken.first() is None:
            return False
        by_tenant = {} if stuck is None else stuck.by_tenant
        await self._connection.execute(
            _TENANTS,
            {"slot": slot_at, "tenants": list(by_tenant), "counts": list(by_tenant.values())},
        )
        await self._connection.execute(_HELD, {"slot": slot_at})
        return True

    async def remove_old(self) -> int:
        """Remove samples past their time, the oldest and a bounded number; tell how many."""
        removed = await self._connection.execute(
            _REMOVE, {"kept_seconds": SAMPLES_KEPT_SECONDS, "maximum": SAMPLES_REMOVED_MAXIMUM}
        )
        return removed.rowcount

    async def steps(
        self, tenant_id: TenantId, start: datetime, width: timedelta
    ) -> dict[datetime, Sampled]:
        """Sum samples up in steps of a width, without the steps that have none.

        Notes
        -----
        Reads no more than ``SAMPLES_KEPT_SECONDS`` has room for.
        """
        span = {"tenant": tenant_id, "start": start, "width": width}
        held: dict[datetime, dict[str, int]] = {}
        for row in await self._connection.execute(_HELD_STEPS, span):
            held.setdefault(row.starts_at, {})[row.currency] = int(row.held_minor)
        return {
            row.starts_at: Sampled(
                in_flight=row.in_flight,
                stuck=row.stuck,
                own_stuck=row.own_stuck,
                is_stuck_whole=row.is_stuck_whole,
                violations=row.violations,
                proof_age_seconds=row.proof_age_seconds,
                held_minor=held.get(row.starts_at, {}),
            )
            for row in await self._connection.execute(_STEPS, span)
        }
