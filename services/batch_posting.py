"""The posting of batches: chunk by chunk, each in one transaction."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from domain.batches import BatchStage, RowStatus, TransferBatch
from domain.errors import BatchCancelled, BatchNotFound, BatchRejected, DomainError
from domain.ids import BatchId, TenantId
from domain.limits import BATCH_ATOMIC_ROWS_MAXIMUM, BATCH_CHUNK_ROWS
from domain.transfers import Failure, Transfer
from persistence.batch_statements import BatchStatements, RecordedRow, RowOutcome
from persistence.database import Database
from services.bounds import TransferBounds
from services.chunk_decision import ChunkDecision, OutcomeCounts, row_of_transfer
from services.chunk_preparation import Directory, PreparedRow, RefusedRow, prepare_rows
from services.idempotency import CREATE_TRANSFER


class _AtomicRefused(Exception):
    """Rows of an atomic batch would fail: the transaction must not commit."""

    def __init__(self, batch: TransferBatch, culprits: Sequence[RowOutcome]) -> None:
        self.batch = batch
        self.culprits = culprits
        super().__init__()


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Rows that follow each other, prepared.

    Parameters
    ----------
    after
        The position just before them.
    """

    after: int
    rows: Sequence[PreparedRow | RefusedRow]

    @property
    def last(self) -> int:
        """The position of the last row."""
        return self.rows[-1].row.position if self.rows else self.after


class _Lookahead:
    """Prepares the chunk that follows while one is written."""

    def __init__(
        self, prepare: Callable[[TransferBatch, int, Directory], Coroutine[Any, Any, _Chunk]]
    ) -> None:
        self._prepare = prepare
        self._directory = Directory()
        self._upcoming: asyncio.Task[_Chunk] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._upcoming is not None:
            self._upcoming.cancel()
            with suppress(asyncio.CancelledError, DomainError):
                await self._upcoming

    def begin(self, batch: TransferBatch, after: int) -> None:
        """Begin with the rows behind a position."""
        self._upcoming = asyncio.create_task(self._prepare(batch, after, self._directory))

    async def take(self, batch: TransferBatch, after: int) -> _Chunk:
        """Give the rows behind a position; another attempt may have posted those that were next."""
        upcoming, self._upcoming = self._upcoming, None
        if upcoming is not None:
            chunk = await upcoming
            if chunk.after == after:
                return chunk
        return await self._prepare(batch, after, self._directory)


class BatchPostingService:
    """Posts the rows of batches.

    Parameters
    ----------
    chunk_rows
        Rows that are posted in one transaction.
    count
        Told of the outcomes of a chunk once it is committed.

    Notes
    -----
    A chunk's transaction locks the batch first, so that of two attempts only one posts it, then all
    its balances in the order of their ids, then claims its keys in their order: as the steps of
    single transfers do, which may run beside it.
    """

    def __init__(
        self,
        database: Database,
        *,
        chunk_rows: int = BATCH_CHUNK_ROWS,
        count: Callable[[OutcomeCounts], None] = lambda _counts: None,
    ) -> None:
        self._database = database
        self._chunk_rows = chunk_rows
        self._count = count

    async def post(
        self,
        tenant_id: TenantId,
        batch_id: BatchId,
        *,
        chunks: int,
        on_chunk: Callable[[TransferBatch], None],
    ) -> TransferBatch:
        """Post up to so many chunks of a batch, and give it as it is then.

        Parameters
        ----------
        chunks
            At most; an atomic batch is one.
        on_chunk
            Told of the batch after each.

        Raises
        ------
        BatchNotFound
            The tenant has no such batch.
        DatabaseUnavailable
            No connection, or the last chunk's outcome is unknown; call again.

        Notes
        -----
        While a chunk is written, the next one is prepared: its accounts are looked up and its
        fingerprints computed, which does not depend on money.
        """
        batch = await self._batch(tenant_id, batch_id)
        async with _Lookahead(self._prepare) as lookahead:
            for _ in range(chunks):
                if batch.is_final or not batch.counts.pending:
                    break
                chunk = await lookahead.take(batch, batch.position)
                batch = await self._post_chunk(batch, chunk, lookahead)
                on_chunk(batch)
                if batch.position == batch.counts.total:
                    break
        return batch

    async def stop(self, tenant_id: TenantId, batch_id: BatchId, failure: Failure) -> TransferBatch:
        """Cancel all rows of a batch that have no outcome; a final one stays as it is.

        Raises
        ------
        BatchNotFound
            The tenant has no such batch.
        DatabaseUnavailable
            No connection, or the outcome is unknown; call again.

        Notes
        -----
        One transaction. Waits for a chunk that is just being posted.
        """
        async with self._database.batching() as statements:
            locked = await self._lock(statements, tenant_id, batch_id)
            return await self._cancel(statements, locked, failure)

    async def _batch(self, tenant_id: TenantId, batch_id: BatchId) -> TransferBatch:
        async with self._database.reading(tenant_id) as unit_of_work:
            batch = await unit_of_work.batches.get(tenant_id, batch_id)
        if batch is None:
            raise BatchNotFound(str(batch_id))
        return batch

    async def _prepare(self, batch: TransferBatch, after: int, directory: Directory) -> _Chunk:
        """Read the next rows, and find out what they mean; nothing is locked."""
        limit = BATCH_ATOMIC_ROWS_MAXIMUM if batch.is_atomic else self._chunk_rows
        if after == batch.counts.total:
            return _Chunk(after, ())
        async with self._database.batching() as statements:
            rows = await statements.read_rows(batch.id, after=after, limit=limit)
            references, currencies = directory.unknown(rows)
            if references or currencies:
                directory.add(
                    await statements.find_accounts(
                        batch.tenant_id, references, settlement_currencies=currencies
                    )
                )
        prepared = await asyncio.to_thread(prepare_rows, rows, directory)
        return _Chunk(after, prepared)

    async def _post_chunk(
        self, batch: TransferBatch, chunk: _Chunk, lookahead: "_Lookahead"
    ) -> TransferBatch:
        counts: OutcomeCounts = Counter()
        try:
            posted = await self._commit_chunk(batch, chunk, lookahead, counts)
        except _AtomicRefused as refused:
            return await self._reject(refused)
        self._count(counts)
        return posted

    async def _commit_chunk(
        self, batch: TransferBatch, chunk: _Chunk, lookahead: "_Lookahead", counts: OutcomeCounts
    ) -> TransferBatch:
        async with self._database.batching() as statements:
            now = await self._lock(statements, batch.tenant_id, batch.id)
            if now.is_final or now.position != chunk.after:
                return now
            if now.cancel_requested_at is not None:
                return await self._cancel(statements, now, Failure.of(BatchCancelled()))
            if not chunk.rows:
                return await self._settle_waiting(statements, now)
            return await self._write(statements, now, chunk, lookahead, counts)

    async def _write(
        self,
        statements: BatchStatements,
        batch: TransferBatch,
        chunk: _Chunk,
        lookahead: "_Lookahead",
        counts: OutcomeCounts,
    ) -> TransferBatch:
        decision = await self._decide(statements, batch, chunk.rows)
        if batch.is_atomic and (culprits := decision.unsuccessful()):
            raise _AtomicRefused(batch, culprits)
        lookahead.begin(batch, chunk.last)
        if decision.recorded:
            await statements.record(batch, decision.recorded)
            await statements.set_balances(decision.moved_balances())
            await statements.bounds.use(batch.tenant_id, decision.bounds.counted_minor)
        if decision.outcomes:
            await statements.settle_rows(batch.id, decision.outcomes)
        counts.update(decision.counts)
        return await _advance(statements, batch, chunk.last, decision.outcomes, decision.recorded)

    async def _decide(
        self,
        statements: BatchStatements,
        batch: TransferBatch,
        rows: Sequence[PreparedRow | RefusedRow],
    ) -> ChunkDecision:
        """Lock what the rows move, take their keys, and decide what becomes of each.

        Notes
        -----
        While PostgreSQL takes the keys, the rows are decided as if all were free, as they are for
        all but a repeat. Where one was taken, they are decided anew.
        """
        prepared = [row for row in rows if isinstance(row, PreparedRow)]
        sides = {row.source for row in prepared} | {row.destination for row in prepared}
        locked = await statements.lock_balances(batch.tenant_id, sides)
        rules = await statements.bounds.rules(batch.tenant_id)
        usages = await statements.bounds.usages(
            [balance.account_id for balance in locked if balance.has_limits]
        )

        async def decided(claimed: set[str], earlier: Mapping[str, Transfer]) -> ChunkDecision:
            decision = ChunkDecision(claimed, earlier, TransferBounds(rules, usages))
            await asyncio.to_thread(decision.take, rows, locked)
            return decision

        bounds = TransferBounds(rules, {})
        wanted = {
            row.idempotency_key: fingerprint
            for row, _source, _destination, fingerprint in prepared
            if bounds.missing_approval(row.amount_minor, row.currency) is None
        }
        claimed, decision = await asyncio.gather(
            statements.claim_keys(batch.tenant_id, wanted, operation=CREATE_TRANSFER),
            decided(set(wanted), {}),
        )
        taken = [
            row.row.idempotency_key for row in prepared if row.row.idempotency_key not in claimed
        ]
        if taken:
            earlier = await statements.transfers_of_keys(batch.tenant_id, taken)
            decision = await decided(claimed, earlier)
        return decision

    async def _settle_waiting(
        self, statements: BatchStatements, batch: TransferBatch
    ) -> TransferBatch:
        """Give rows their outcome that wait for a transfer which was made elsewhere."""
        rows = await statements.waiting_rows(batch.id, limit=BATCH_CHUNK_ROWS)
        ids = [row.transfer_id for row in rows if row.transfer_id is not None]
        transfers = await statements.transfers_by_id(batch.tenant_id, ids)
        outcomes = [
            row_of_transfer(row, transfers[row.transfer_id])
            for row in rows
            if row.transfer_id is not None
        ]
        settled = [outcome for outcome in outcomes if outcome.status is not RowStatus.PENDING]
        await statements.settle_rows(batch.id, settled)
        return await _advance(statements, batch, batch.position, settled)

    async def _reject(self, refused: _AtomicRefused) -> TransferBatch:
        """Record that nothing of an atomic batch is posted, and which rows are to blame."""
        culprits = refused.culprits
        async with self._database.batching() as statements:
            batch = await self._lock(statements, refused.batch.tenant_id, refused.batch.id)
            if batch.is_final or batch.position:
                return batch
            await statements.settle_rows(batch.id, culprits)
            cancelled = await statements.cancel_rows(batch.id)
            return await statements.advance(
                batch.id,
                BatchStage.REJECTED,
                position=batch.counts.total,
                new={RowStatus.REJECTED: len(culprits), RowStatus.CANCELLED: cancelled},
                failure=Failure.of(BatchRejected(len(culprits))),
            )

    @staticmethod
    async def _cancel(
        statements: BatchStatements, batch: TransferBatch, failure: Failure
    ) -> TransferBatch:
        if batch.is_final:
            return batch
        cancelled = await statements.cancel_rows(batch.id)
        return await statements.advance(
            batch.id,
            BatchStage.CANCELLED,
            position=batch.position,
            new={RowStatus.CANCELLED: cancelled},
            failure=failure,
        )

    @staticmethod
    async def _lock(
        statements: BatchStatements, tenant_id: TenantId, batch_id: BatchId
    ) -> TransferBatch:
        locked = await statements.lock_batch(tenant_id, batch_id)
        if locked is None:
            raise BatchNotFound(str(batch_id))
        return locked


async def _advance(
    statements: BatchStatements,
    batch: TransferBatch,
    position: int,
    outcomes: Sequence[RowOutcome],
    recorded: Sequence[RecordedRow] = (),
) -> TransferBatch:
    new = Counter(outcome.status for outcome in outcomes)
    failed = sum(row.failure is not None for row in recorded)
    new += Counter({RowStatus.FAILED: failed, RowStatus.SUCCEEDED: len(recorded) - failed})
    waiting = new.pop(RowStatus.PENDING, 0)
    settled = batch.counts.settled + new.total()
    is_done = settled == batch.counts.total and not waiting
    stage = BatchStage.COMPLETED if is_done else BatchStage.RUNNING
    replayed = sum(o.is_replay and o.status is RowStatus.SUCCEEDED for o in outcomes)
    return await statements.advance(batch.id, stage, position=position, new=new, replayed=replayed)
