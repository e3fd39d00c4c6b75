"""The chunk that follows: prepared, and begun, while the one before it is written."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from domain.batches import TransferBatch
from domain.errors import DomainError
from domain.limits import BATCH_ATOMIC_ROWS_MAXIMUM, BATCH_BEGUN_CHUNK_LOCK_SECONDS
from domain.rules import ApprovalRule
from persistence.batch_statements import BatchStatements
from persistence.database import Database
from services.bounds import TransferBounds
from services.chunk_preparation import Directory, PreparedRow, RefusedRow, prepare_rows
from services.idempotency import CREATE_TRANSFER


class OutOfTurn(Exception):
    """A chunk that was begun before its turn cannot end as it was begun: nothing of it is kept."""


@dataclass(frozen=True, slots=True)
class BegunChunk:
    """A transaction that has done before its turn what does not depend on money.

    Parameters
    ----------
    rules
        Approval rules, as it has found them.
    claimed
        The keys that it has taken. Their transfers are recorded, as if all will be posted.

    Notes
    -----
    It locks no balance, and so keeps up no transfer but one with a key of its own. Single
    transfers, and chunks in their turn, lock balances first and then take keys; this one goes the
    other way, and so waits for no lock long enough for a circle to close.
    """

    rules: Sequence[ApprovalRule]
    claimed: set[str]
    _statements: BatchStatements
    _transaction: AsyncExitStack

    async def __aenter__(self) -> BatchStatements:
        """Go on with it; it commits where the block ends, and rolls back where it raises."""
        return self._statements

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._transaction.__aexit__(kind, error, trace)

    async def abandon(self) -> None:
        """Roll it back."""
        with suppress(OutOfTurn, DomainError):
            async with self:
                raise OutOfTurn


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows that follow each other, prepared.

    Parameters
    ----------
    after
        The position just before them.
    begun
        Their transaction, where it has begun before their turn.
    """

    after: int
    rows: Sequence[PreparedRow | RefusedRow]
    begun: BegunChunk | None = None

    @property
    def last(self) -> int:
        """The position of the last row."""
        return self.rows[-1].row.position if self.rows else self.after

    @property
    def prepared(self) -> list[PreparedRow]:
        """Those of the rows that may become transfers."""
        return [row for row in self.rows if isinstance(row, PreparedRow)]


class Lookahead:
    """Gives chunks in their order, each prepared and begun while the one before it was written.

    Parameters
    ----------
    chunk_rows
        Rows of a chunk; an atomic batch is one.
    chunks
        How many will be taken: nothing is prepared behind the last.

    Notes
    -----
    A chunk is begun only once the one before it has all its locks. Otherwise that one could wait
    for a single transfer which waits for a key of the chunk that follows, and PostgreSQL would not
    see the circle, for its last part is in this process.
    """

    def __init__(self, database: Database, *, chunk_rows: int, chunks: int) -> None:
        self._database = database
        self._chunk_rows = chunk_rows
        self._left = chunks
        self._directory = Directory()
        self._upcoming: asyncio.Task[Chunk] | None = None
        self._begins = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._abandon()

    def start(self, batch: TransferBatch, after: int) -> None:
        """Start with the rows behind a position."""
        if self._left > 0:
            self._upcoming = asyncio.create_task(self._ahead(batch, after))

    async def take(self, batch: TransferBatch) -> Chunk:
        """Give the rows behind a batch's position."""
        self._left -= 1
        if self._upcoming is not None:
            # It stays known until it is here: where this is cancelled, it is abandoned.
            chunk = await self._upcoming
            self._upcoming = None
            if chunk.after == batch.position:
                return chunk
            # Another attempt has posted those that were next.
            if chunk.begun is not None:
                await chunk.begun.abandon()
        return await self._prepare(batch, batch.position)

    async def keep_to_turns(self) -> None:
        """Begin no further chunk before its turn: what kept one from its end may do so again."""
        self._begins = False
        await self._abandon()

    async def _abandon(self) -> None:
        upcoming, self._upcoming = self._upcoming, None
        if upcoming is None:
            return
        upcoming.cancel()
        # Not awaited itself: its cancellation is none of who waits here.
        await asyncio.wait([upcoming])
        if upcoming.cancelled() or upcoming.exception() is not None:
            return
        begun = upcoming.result().begun
        if begun is not None:
            await begun.abandon()

    async def _ahead(self, batch: TransferBatch, after: int) -> Chunk:
        chunk = await self._prepare(batch, after)
        if not self._begins or not chunk.rows:
            return chunk
        try:
            return Chunk(chunk.after, chunk.rows, await self._begin(batch, chunk))
        except DomainError:
            # In its turn it fails again, or does not.
            self._begins = False
            return chunk

    async def _prepare(self, batch: TransferBatch, after: int) -> Chunk:
        """Read the next rows, and find out what they mean; nothing is locked."""
        limit = BATCH_ATOMIC_ROWS_MAXIMUM if batch.is_atomic else self._chunk_rows
        if after == batch.counts.total:
            return Chunk(after, ())
        directory = self._directory
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
        return Chunk(after, prepared)

    async def _begin(self, batch: TransferBatch, chunk: Chunk) -> BegunChunk:
        async with AsyncExitStack() as stack:
            statements = await stack.enter_async_context(self._database.batching())
            await statements.wait_at_most(BATCH_BEGUN_CHUNK_LOCK_SECONDS)
            rules = await statements.bounds.rules(batch.tenant_id)
            claimed = await statements.claim_keys(
                batch.tenant_id, claimable(chunk.prepared, rules), operation=CREATE_TRANSFER
            )
            transfers = [
                row.transfer(None) for row in chunk.prepared if row.row.idempotency_key in claimed
            ]
            if transfers:
                await statements.record(batch, transfers)
            transaction = stack.pop_all()
        return BegunChunk(rules, claimed, statements, transaction)


def claimable(rows: Sequence[PreparedRow], rules: Sequence[ApprovalRule]) -> Mapping[str, bytes]:
    """Give the keys, with fingerprints, of rows that do not need an approval."""
    bounds = TransferBounds(rules, {})
    return {
        row.idempotency_key: fingerprint
        for row, _source, _destination, fingerprint in rows
        if bounds.missing_approval(row.amount_minor, row.currency) is None
    }
