"""What should have moved on and has not, of all tenants, in SQL."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import BatchId, StandingOrderId, TenantId, batch_workflow_id
from domain.ids import workflow_id as workflow_id_of
from domain.standing_orders import run_workflow_id
from domain.stuck import Candidate, StuckKind
from persistence.due import DUE_AT


class StuckOrder(StrEnum):
    """What comes first."""

    AGE = "age"
    """What is stuck for longest, and of several the largest."""
    AMOUNT = "amount"
    """The largest, in minor units of whatever currency."""


@dataclass(frozen=True, slots=True)
class StuckFilter:
    """Which candidates are wanted; ``None`` does not restrict."""

    tenant_id: TenantId | None = None
    kind: StuckKind | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True)
class StuckPosition:
    """Where in the list something stands: behind it the next page begins."""

    since: datetime
    amount_minor: int
    id: UUID


_MOVED: Final = (
    "transfer.stage IN ('POSTED', 'COMPLETED') OR coalesce(transfer.captured_minor, 0) > 0"
)
_TRANSFERS: Final = f"""
SELECT 'TRANSFER' AS kind, transfer.id, transfer.tenant_id, transfer.stage, {DUE_AT} AS since,
    transfer.idempotency_key, transfer.amount_minor, transfer.currency, {_MOVED} AS has_moved,
    transfer.state <> 'PROCESSING' AS is_final, transfer.batch_id,
    CAST(NULL AS timestamptz) AS scheduled_at, transfer.id AS transfer_id
FROM transfers AS transfer
"""  # noqa: S608 - of this module
_BATCHES: Final = """
SELECT 'BATCH' AS kind, batch.id, batch.tenant_id, batch.stage, batch.updated_at AS since,
    batch.idempotency_key, CAST(NULL AS numeric) AS amount_minor, CAST(NULL AS text) AS currency,
    batch.succeeded_rows > 0 AS has_moved, batch.state <> 'PROCESSING' AS is_final,
    batch.id AS batch_id, CAST(NULL AS timestamptz) AS scheduled_at,
    CAST(NULL AS uuid) AS transfer_id
FROM transfer_batches AS batch
"""
_RUNS: Final = f"""
SELECT 'STANDING_ORDER_RUN' AS kind, run.order_id AS id, run.tenant_id, run.state AS stage,
    greatest(run.created_at, CASE WHEN transfer.id IS NOT NULL THEN {DUE_AT} END) AS since,
    transfer.idempotency_key, transfer.amount_minor, transfer.currency,
    coalesce({_MOVED}, false) AS has_moved, run.state <> 'PROCESSING' AS is_final,
    CAST(NULL AS uuid) AS batch_id, run.scheduled_at, transfer.id AS transfer_id
FROM standing_order_runs AS run LEFT JOIN transfers AS transfer ON transfer.id = run.transfer_id
"""  # noqa: S608 - of this module
_CANDIDATES: Final = f"""
{_TRANSFERS} WHERE transfer.state = 'PROCESSING'
UNION ALL {_BATCHES} WHERE batch.state = 'PROCESSING'
UNION ALL {_RUNS} WHERE run.state = 'PROCESSING'
"""
_SHOWN: Final = """
SELECT candidate.*, tenant.name AS tenant_name, coalesce(hold.left_minor, 0) AS held_minor
FROM ({candidates}) AS candidate
JOIN tenants AS tenant ON tenant.id = candidate.tenant_id
LEFT JOIN LATERAL (
    SELECT sum(amount_minor - captured_minor) AS left_minor FROM holds
    WHERE holds.transfer_id = candidate.transfer_id AND holds.status = 'HELD'
        AND candidate.kind = 'TRANSFER'
) AS hold ON true
"""
_PAGE: Final = """
SELECT * FROM ({candidates}) AS candidate
WHERE since <= clock_timestamp() - make_interval(secs => :idle_seconds)
    AND (CAST(:tenant AS uuid) IS NULL OR tenant_id = CAST(:tenant AS uuid))
    AND (CAST(:kind AS text) IS NULL OR kind = CAST(:kind AS text))
    AND (CAST(:currency AS text) IS NULL OR currency = CAST(:currency AS text))
    AND (CAST(:after_id AS uuid) IS NULL OR ({columns}) > ({after}))
ORDER BY {columns} LIMIT :limit
"""
_AFTER_SINCE: Final = "CAST(:after_since AS timestamptz)"
_AFTER_AMOUNT: Final = "-CAST(:after_amount AS numeric)"
_AFTER_ID: Final = "CAST(:after_id AS uuid)"
_SIZE: Final = "-coalesce(amount_minor, 0)"
_ORDERS: Final[Mapping[StuckOrder, tuple[str, str]]] = {
    StuckOrder.AGE: (f"since, {_SIZE}, id", f"{_AFTER_SINCE}, {_AFTER_AMOUNT}, {_AFTER_ID}"),
    StuckOrder.AMOUNT: (f"{_SIZE}, since, id", f"{_AFTER_AMOUNT}, {_AFTER_SINCE}, {_AFTER_ID}"),
}
_PAGES: Final = {
    order: text(
        _SHOWN.format(candidates=_PAGE.format(candidates=_CANDIDATES, columns=columns, after=after))
        + f" ORDER BY {columns}"
    )
    for order, (columns, after) in _ORDERS.items()
}
_ONE: Final = {
    StuckKind.TRANSFER: text(_SHOWN.format(candidates=f"{_TRANSFERS} WHERE transfer.id = :id")),
    StuckKind.BATCH: text(_SHOWN.format(candidates=f"{_BATCHES} WHERE batch.id = :id")),
    StuckKind.STANDING_ORDER_RUN: text(
        _SHOWN.format(
            candidates=f"{_RUNS} WHERE run.order_id = :id ORDER BY run.state <> 'PROCESSING',"
            " CASE WHEN run.state = 'PROCESSING' THEN run.scheduled_at END, run.scheduled_at DESC"
            " LIMIT 1"
        )
    ),
}
_OF_KEYS: Final = text(
    _SHOWN.format(
        candidates=f"{_TRANSFERS} JOIN unnest(CAST(:tenants AS uuid[]), CAST(:keys AS text[]))"
        " AS wanted (tenant_id, key) ON wanted.tenant_id = transfer.tenant_id"
        " AND wanted.key = transfer.idempotency_key"
    )
)
_TENANTS: Final = text("SELECT id, name FROM tenants WHERE id = ANY(CAST(:tenants AS uuid[]))")


class StuckRepository:
    """Reads what is unfinished, whoever's it is."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def page(
        self,
        wanted: StuckFilter,
        order: StuckOrder,
        *,
        idle_seconds: float,
        after: StuckPosition | None,
        limit: int,
    ) -> list[Candidate]:
        """Read what should have moved on some seconds ago, from just behind a position.

        Notes
        -----
        Goes through all that is PROCESSING by the partial indexes of that, and leaves out what
        rests and whose time has not come.
        """
        result = await self._connection.execute(
            _PAGES[order],
            {
                "idle_seconds": idle_seconds,
                "tenant": wanted.tenant_id,
                "kind": wanted.kind,
                "currency": wanted.currency,
                "after_id": after.id if after else None,
                "after_since": after.since if after else None,
                "after_amount": after.amount_minor if after else None,
                "limit": limit,
            },
        )
        return [_candidate(row) for row in result.mappings()]

    async def get(self, kind: StuckKind, item_id: UUID) -> Candidate | None:
        """Read one transfer or batch of any tenant, finished or not, or a run of a standing order.

        Notes
        -----
        Of an order's runs the oldest that is under way; where none is, the newest.
        """
        result = await self._connection.execute(_ONE[kind], {"id": item_id})
        row = result.mappings().one_or_none()
        return None if row is None else _candidate(row)

    async def of_keys(self, keys: Collection[tuple[TenantId, str]]) -> list[Candidate]:
        """Read the transfers of some tenants' keys, finished or not."""
        pairs = list(keys)
        result = await self._connection.execute(
            _OF_KEYS,
            {"tenants": [tenant for tenant, _ in pairs], "keys": [key for _, key in pairs]},
        )
        return [_candidate(row) for row in result.mappings()]

    async def tenant_names(self, tenants: Sequence[TenantId]) -> dict[TenantId, str]:
        """Read the names of some tenants."""
        result = await self._connection.execute(_TENANTS, {"tenants": list(tenants)})
        return {TenantId(row.id): row.name for row in result}


def _candidate(row: RowMapping) -> Candidate:
    kind = StuckKind(row["kind"])
    amount: Any = row["amount_minor"]
    return Candidate(
        kind=kind,
        id=row["id"],
        tenant_id=TenantId(row["tenant_id"]),
        tenant_name=row["tenant_name"],
        stage=row["stage"],
        since=row["since"],
        workflow_id=_workflow_id(kind, row),
        idempotency_key=row["idempotency_key"],
        amount_minor=None if amount is None else int(amount),
        held_minor=int(row["held_minor"]),
        currency=row["currency"],
        has_moved=row["has_moved"],
        is_final=row["is_final"],
        is_in_batch=kind is StuckKind.TRANSFER and row["batch_id"] is not None,
        scheduled_at=row["scheduled_at"],
    )


def _workflow_id(kind: StuckKind, row: RowMapping) -> str:
    if kind is StuckKind.STANDING_ORDER_RUN:
        return run_workflow_id(StandingOrderId(row["id"]), row["scheduled_at"])
    tenant_id = TenantId(row["tenant_id"])
    if row["batch_id"] is not None:
        return batch_workflow_id(tenant_id, BatchId(row["batch_id"]))
    return workflow_id_of(tenant_id, row["idempotency_key"])
