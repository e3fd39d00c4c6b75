"""The posting of batches: chunk by chunk, each in one transaction."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from domain.batches import BatchStage, RowStatus, TransferBatch
from domain.errors import BatchCancelled, BatchNotFound, BatchRejected, DomainError
from domain.ids import BatchId, TenantId
from domain.limits import BATCH_CHUNK_ROWS
from domain.transfers import Failure, Transfer
from persistence.batch_statements import BatchStatements, RowOutcome
from persistence.database import Database
from services.bounds import TransferBounds
from services.chunk_decision import ChunkDecision, OutcomeCounts, row_of_transfer
from services.chunk_lookahead import BegunChunk, Chunk, Lookahead, OutOfTurn, claimable
from services.idempotency import CREATE_TRANSFER


class _AtomicRefused(Exception):
    """Rows of an atomic batch would fail: the transaction must not commit."""

    def __init__(self, batch: TransferBatch, culprits: Sequence[RowOutcome]) -> None:
        self.batch = batch
        self.culprits = culprits
        super().__init__()


_Posted = tuple[TransferBatch, OutcomeCounts]
"""A batch as a chunk has left it, and the transfers that the chunk has brought to their end."""


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
    single transfers do, which may run beside it. Behind another chunk it has mostly begun before
    its turn, and has its keys already.
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
        While a chunk is written, the next one is prepared and begun: its accounts are looked up,
        its fingerprints computed, its keys taken and its transfers recorded, which does not depend
        on money. Where one of them then fails, the chunk is rolled back and done in its turn.
        """
        batch = await self._batch(tenant_id, batch_id)
        async with Lookahead(
            self._database, chunk_rows=self._chunk_rows, chunks=chunks
        ) as lookahead:
            for _ in range(chunks):
                if batch.is_final or not batch.counts.pending:
                    break
                chunk = await lookahead.take(batch)
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

    async def _post_chunk(
        self, batch: TransferBatch, chunk: Chunk, lookahead: Lookahead
    ) -> TransferBatch:
        posted = None
        if chunk.begun is not None:
            posted = await self._finish_chunk(batch, chunk, chunk.begun, lookahead)
        if posted is None:
            try:
                posted = await self._commit_chunk(batch, replace(chunk, begun=None), lookahead)
            except _AtomicRefused as refused:
                return await self._reject(refused)
        now, counts = posted
        self._count(counts)
        return now

    async def _finish_chunk(
        self, batch: TransferBatch, chunk: Chunk, begun: BegunChunk, lookahead: Lookahead
    ) -> _Posted | None:
        """Post a chunk that was begun before its turn; ``None`` where it has to be done anew."""
        try:
            async with begun as statements:
                now = await self._lock(statements, batch.tenant_id, batch.id)
                _require_turn(now, chunk)
                decision = await self._decide(statements, now, chunk)
                _require_all_posted(decision)
                return await self._write(statements, now, chunk, decision, lookahead)
        except (OutOfTurn, DomainError):
            await lookahead.keep_to_turns()
            return None

    async def _commit_chunk(
        self, batch: TransferBatch, chunk: Chunk, lookahead: Lookahead
    ) -> _Posted:
        async with self._database.batching() as statements:
            now = await self._lock(statements, batch.tenant_id, batch.id)
            if now.is_final or now.position != chunk.after:
                return now, Counter()
            if now.cancel_requested_at is not None:
                return await self._cancel(statements, now, Failure.of(BatchCancelled())), Counter()
            if not chunk.rows:
                return await self._settle_waiting(statements, now), Counter()
            decision = await self._decide(statements, now, chunk)
            if now.is_atomic and (culprits := decision.unsuccessful()):
                raise _AtomicRefused(now, culprits)
            return await self._write(statements, now, chunk, decision, lookahead)

    @staticmethod
    async def _write(
        statements: BatchStatements,
        batch: TransferBatch,
        chunk: Chunk,
        decision: ChunkDecision,
        lookahead: Lookahead,
    ) -> _Posted:
        """Write what was decided, and how far the batch has come; waits for no lock any more."""
        lookahead.start(batch, chunk.last)
        if decision.transfers and chunk.begun is None:
            await statements.record(batch, decision.transfers)
        if decision.postings:
            await statements.enter(batch, decision.postings)
            await statements.set_balances(decision.moved_balances())
            await statements.bounds.use(batch.tenant_id, decision.bounds.counted_minor)
        if decision.outcomes:
            await statements.settle_rows(batch.id, decision.outcomes)
        advanced = await _advance(
            statements,
            batch,
            chunk.last,
            decision.outcomes,
            posted=len(decision.postings),
            failed=len(decision.transfers) - len(decision.postings),
        )
        return advanced, decision.counts

    @staticmethod
    async def _decide(
        statements: BatchStatements, batch: TransferBatch, chunk: Chunk
    ) -> ChunkDecision:
        """Lock what the rows move, take their keys, and decide what becomes of each.

        Notes
        -----
        While PostgreSQL takes the keys, the rows are decided as if all were free, as they are for
        all but a repeat. Where one was taken, they are decided anew.
        """
        rows, begun = chunk.prepared, chunk.begun
        sides = {row.source for row in rows} | {row.destination for row in rows}
        locked = await statements.lock_balances(batch.tenant_id, sides)
        rules = begun.rules if begun else await statements.bounds.rules(batch.tenant_id)
        usages = await statements.bounds.usages(
            [balance.account_id for balance in locked if balance.has_limits]
        )

        async def decided(claimed: set[str], earlier: Mapping[str, Transfer]) -> ChunkDecision:
            decision = ChunkDecision(claimed, earlier, TransferBounds(rules, usages))
            await asyncio.to_thread(decision.take, chunk.rows, locked)
            return decision

        decision = None
        if begun is None:
            wanted = claimable(rows, rules)
            claimed, decision = await asyncio.gather(
                statements.claim_keys(batch.tenant_id, wanted, operation=CREATE_TRANSFER),
                decided(set(wanted), {}),
            )
        else:
            claimed = begun.claimed
        taken = [row.row.idempotency_key for row in rows if row.row.idempotency_key not in claimed]
        if decision is None or taken:
            earlier = await statements.transfers_of_keys(batch.tenant_id, taken) if taken else {}
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


def _require_turn(batch: TransferBatch, chunk: Chunk) -> None:
    if batch.is_final or batch.position != chunk.after or batch.cancel_requested_at is not None:
        raise OutOfTurn


def _require_all_posted(decision: ChunkDecision) -> None:
    if len(decision.postings) < len(decision.transfers):
        raise OutOfTurn


async def _advance(
    statements: BatchStatements,
    batch: TransferBatch,
    position: int,
    outcomes: Sequence[RowOutcome],
    *,
    posted: int = 0,
    failed: int = 0,
) -> TransferBatch:
    new = Counter(outcome.status for outcome in outcomes)
    new += Counter({RowStatus.FAILED: failed, RowStatus.SUCCEEDED: posted})
    waiting = new.pop(RowStatus.PENDING, 0)
    settled = batch.counts.settled + new.total()
    is_done = settled == batch.counts.total and not waiting
    stage = BatchStage.COMPLETED if is_done else BatchStage.RUNNING
    replayed = sum(o.is_replay and o.status is RowStatus.SUCCEEDED for o in outcomes)
    return await statements.advance(batch.id, stage, position=position, new=new, replayed=replayed)
