"""Batches: recorded with all their rows, read, and asked to stop."""

from collections.abc import AsyncIterator, Iterable, Sequence
from uuid import UUID

from domain.audit import SYSTEM_ACTOR, Actor
from domain.batches import BatchOrder, BatchRow, RowStatus, TransferBatch
from domain.errors import BatchFinished, BatchNotFound, IdempotencyKeyReused
from domain.ids import BatchId, TenantId
from domain.pages import Page
from persistence.batch_statements import ROW_COLUMNS
from persistence.database import Database
from persistence.tenancy import EVERY_TENANT

CREATE_BATCH = "batch.create"
UNFINISHED_PAGE_SIZE = 100
RESULT_PAGE_SIZE = 2_000
"""Rows of a result that are in memory at a time."""


class BatchService:
    """Records batches and reads them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, tenant_id: TenantId, key: str, fingerprint: bytes) -> TransferBatch | None:
        """Find the batch of a key; ``None`` where there is none.

        Raises
        ------
        IdempotencyKeyReused
            The key was used for another batch.
        """
        async with self._database.reading(tenant_id) as unit_of_work:
            batch = await unit_of_work.batches.get_by_key(tenant_id, key)
        if batch is not None and batch.fingerprint != fingerprint:
            raise IdempotencyKeyReused(key)
        return batch

    async def stage(self, order: BatchOrder, pieces: Iterable[bytes]) -> TransferBatch:
        """Record a batch with all its rows, or give the one that its key stands for.

        Parameters
        ----------
        pieces
            The rows in the text of ``services.staged_text.staged_row``, some thousands a piece.

        Raises
        ------
        IdempotencyKeyReused
            The key was used for another request.
        DatabaseUnavailable
            No connection, or the outcome is unknown; the same request later gives the one batch.

        Notes
        -----
        One transaction: a batch is never seen without its rows, nor a key taken without its batch.
        """
        key = order.idempotency_key
        async with self._database.batching() as statements:
            claimed = await statements.claim_keys(
                order.tenant_id, {key: order.fingerprint}, operation=CREATE_BATCH
            )
            if claimed:
                batch = await statements.insert_batch(order)
                for piece in pieces:
                    await statements.copy("transfer_batch_rows", ROW_COLUMNS, piece)
                return batch
        earlier = await self.find(order.tenant_id, key, order.fingerprint)
        if earlier is None:
            raise IdempotencyKeyReused(key)
        return earlier

    async def get(self, tenant_id: TenantId, batch_id: BatchId) -> TransferBatch:
        """Read a batch.

        Raises
        ------
        BatchNotFound
            The tenant has no such batch.
        """
        async with self._database.reading(tenant_id) as unit_of_work:
            batch = await unit_of_work.batches.get(tenant_id, batch_id)
        if batch is None:
            raise BatchNotFound(str(batch_id))
        return batch

    async def codes(self, batch: TransferBatch) -> dict[str, int]:
        """Count a batch's rows that moved no money, by the code of the reason."""
        if not (batch.counts.failed or batch.counts.rejected):
            return {}
        async with self._database.reading(batch.tenant_id) as unit_of_work:
            return await unit_of_work.batches.codes(batch.id)

    async def page(
        self, tenant_id: TenantId, *, after: UUID | None, limit: int
    ) -> Page[TransferBatch]:
        """Read a page of batches, newest first."""
        async with self._database.reading(tenant_id) as unit_of_work:
            found = await unit_of_work.batches.page(tenant_id, after=after, limit=limit + 1)
        return Page.of(found, limit, lambda batch: str(batch.id))

    async def rows(
        self, batch: TransferBatch, statuses: Sequence[RowStatus], *, after: int, limit: int
    ) -> Page[BatchRow]:
        """Read a page of a batch's rows, in their order."""
        async with self._database.reading(batch.tenant_id) as unit_of_work:
            found = await unit_of_work.batches.rows(
                batch.id, statuses=statuses, after=after, limit=limit + 1
            )
        return Page.of(found, limit, lambda row: str(row.position))

    async def result(self, batch: TransferBatch) -> AsyncIterator[list[BatchRow]]:
        """Go through all rows of a batch, some thousands at a time.

        Notes
        -----
        Page by page and not from one cursor: a slow reader holds no connection and no snapshot.
        """
        after = 0
        while after < batch.counts.total:
            async with self._database.reading(batch.tenant_id) as unit_of_work:
                found = await unit_of_work.batches.rows(
                    batch.id, after=after, limit=RESULT_PAGE_SIZE
                )
            if not found:
                return
            yield found
            after = found[-1].position

    async def request_cancel(
        self,
        tenant_id: TenantId,
        batch_id: BatchId,
        *,
        actor: Actor = SYSTEM_ACTOR,
        reason: str | None = None,
    ) -> TransferBatch:
        """Ask a batch to stop at the end of the chunk that is being posted.

        Raises
        ------
        BatchNotFound
            The tenant has no such batch.
        BatchFinished
            Every row of it has its outcome.
        """
        async with self._database.transaction(tenant_id) as unit_of_work:
            is_new = await unit_of_work.batches.request_cancel(tenant_id, batch_id)
            if is_new:
                await unit_of_work.audit.record(
                    actor,
                    "transfer_batch.cancel",
                    tenant_id=tenant_id,
                    subject_type="transfer_batch",
                    subject_id=batch_id,
                    reason=reason,
                )
        batch = await self.get(tenant_id, batch_id)
        if batch.cancel_requested_at is None:
            raise BatchFinished
        return batch

    async def unfinished(self, *, idle_seconds: float) -> AsyncIterator[TransferBatch]:
        """Go through the PROCESSING batches of all tenants that have not moved for a while."""
        last: UUID | None = None
        while True:
            async with self._database.reading(EVERY_TENANT) as unit_of_work:
                found = await unit_of_work.batches.unfinished(
                    idle_seconds=idle_seconds, after=last, limit=UNFINISHED_PAGE_SIZE
                )
            for batch in found:
                yield batch
            if len(found) < UNFINISHED_PAGE_SIZE:
                return
            last = found[-1].id
