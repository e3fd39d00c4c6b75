"""What the reconciliation asks of the database, set by set and without a lock."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import AccountId, BatchId, TenantId, TransferId

_FINISHED_TRANSFERS = text(
    """
SELECT named.workflow_id, 'transfer ' || transfer.id AS subject, transfer.state,
    extract(epoch FROM now() - transfer.completed_at)::double precision AS seconds
FROM unnest(CAST(:workflows AS text[]), CAST(:tenants AS uuid[]), CAST(:keys AS text[]))
    AS named (workflow_id, tenant_id, key)
JOIN transfers AS transfer
    ON transfer.tenant_id = named.tenant_id AND transfer.idempotency_key = named.key
WHERE transfer.state <> 'PROCESSING'
"""
)
_FINISHED_BATCHES = text(
    """
SELECT named.workflow_id, 'batch ' || batch.id AS subject, batch.state,
    extract(epoch FROM now() - batch.completed_at)::double precision AS seconds
FROM unnest(CAST(:workflows AS text[]), CAST(:batches AS uuid[])) AS named (workflow_id, id)
JOIN transfer_batches AS batch ON batch.id = named.id
WHERE batch.state <> 'PROCESSING'
"""
)
# LIMIT 1 has each transfer's holds looked up by their index: a join would read all holds there are.
_ORPHANS = text(
    """
SELECT transfer.tenant_id, transfer.id
FROM (
    SELECT id, tenant_id, state FROM transfers
    WHERE id > CAST(:after AS uuid) ORDER BY id LIMIT :number
) AS transfer
CROSS JOIN LATERAL (
    SELECT FROM holds AS hold
    WHERE hold.transfer_id = transfer.id AND hold.status = 'HELD' LIMIT 1
) AS open
WHERE transfer.state <> 'PROCESSING'
ORDER BY transfer.id
"""
)
_END_OF_ORPHANS = text(
    """
SELECT max(id::text) AS upto, count(*) AS found FROM (
    SELECT id FROM transfers WHERE id > CAST(:after AS uuid) ORDER BY id LIMIT :number
) AS slice
"""
)
_LIVING = text(
    """
SELECT hold.account_id, sum(hold.amount_minor - hold.captured_minor) AS held_minor
FROM transfers AS transfer
JOIN holds AS hold ON hold.transfer_id = transfer.id AND hold.status = 'HELD'
WHERE transfer.state = 'PROCESSING' AND hold.account_id = ANY(CAST(:accounts AS uuid[]))
GROUP BY hold.account_id
"""
)


@dataclass(frozen=True, slots=True)
class FinishedWork:
    """A transfer or batch that is final, and the workflow that is said to be open for it."""

    workflow_id: str
    subject: str
    state: str
    seconds: float


@dataclass(frozen=True, slots=True)
class OrphanSlice:
    """Final transfers of a slice that still have an open hold."""

    transfers: tuple[tuple[TenantId, TransferId], ...]
    position: str | None
    examined: int


class ReconciliationRepository:
    """Reads across transfers, holds and batches."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def finished_transfers(
        self, named: Sequence[tuple[str, TenantId, str]]
    ) -> list[FinishedWork]:
        """Find those among workflow ids, tenants and keys whose transfer is final."""
        rows = await self._connection.execute(
            _FINISHED_TRANSFERS,
            {
                "workflows": [workflow_id for workflow_id, _, _ in named],
                "tenants": [tenant_id for _, tenant_id, _ in named],
                "keys": [key for _, _, key in named],
            },
        )
        return [FinishedWork(*row) for row in rows]

    async def finished_batches(self, named: Sequence[tuple[str, BatchId]]) -> list[FinishedWork]:
        """Find those among workflow ids and batches that are final."""
        rows = await self._connection.execute(
            _FINISHED_BATCHES,
            {
                "workflows": [workflow_id for workflow_id, _ in named],
                "batches": [batch_id for _, batch_id in named],
            },
        )
        return [FinishedWork(*row) for row in rows]

    async def orphans(self, position: str | None, number: int) -> OrphanSlice:
        """Find final transfers with an open hold among the next so many by id."""
        values = {"after": position or str(UUID(int=0)), "number": number}
        end = (await self._connection.execute(_END_OF_ORPHANS, values)).one()
        rows = await self._connection.execute(_ORPHANS, values)
        return OrphanSlice(
            tuple((TenantId(row.tenant_id), TransferId(row.id)) for row in rows),
            end.upto if end.found == number else None,
            end.found,
        )

    async def living_holds(self, accounts: Sequence[AccountId]) -> dict[AccountId, int]:
        """Sum the open holds of unfinished transfers, in minor units, by account."""
        rows = await self._connection.execute(_LIVING, {"accounts": list(accounts)})
        return {AccountId(row.account_id): int(row.held_minor) for row in rows}
