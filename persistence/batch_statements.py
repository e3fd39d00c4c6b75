"""The set-based statements of a batch, sent straight through the driver in one transaction.

A chunk's transfers, events and entries are made in PostgreSQL, from its staged rows and from lists
of what was decided. Measured in ``docs/performance.md``.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection, sql
from psycopg.rows import DictRow, tuple_row

from domain.accounts import AccountReference
from domain.batches import (
    BatchOrder,
    BatchRow,
    BatchStage,
    RowStatus,
    StagedRow,
    TransferBatch,
    state_of_batch,
)
from domain.ids import AccountId, BatchId, TenantId, TransferId
from domain.states import Step
from domain.transfers import Failure, Transfer
from persistence import array_text
from persistence.accounts import AccountIdentity, identity_from
from persistence.audit import record_change
from persistence.batch_bounds import BatchBoundStatements
from persistence.batches import batch_from, row_from
from persistence.transfers import transfer_from

ROW_COLUMNS: Final = (
    "batch_id",
    "tenant_id",
    "position",
    "idempotency_key",
    "type",
    "source",
    "destination",
    "amount_minor",
    "currency",
    "description",
    "metadata",
    "effective_at",
)

_CLAIM: Final = """
INSERT INTO idempotency_keys (tenant_id, key, operation, fingerprint)
SELECT %(tenant_id)s, claimed.key, %(operation)s, claimed.fingerprint
FROM unnest(%(keys)s::text[], %(fingerprints)s::bytea[]) AS claimed (key, fingerprint)
ON CONFLICT (tenant_id, key) DO NOTHING
RETURNING key
"""
_INSERT_BATCH: Final = """
INSERT INTO transfer_batches (id, tenant_id, idempotency_key, fingerprint, is_atomic, description,
    state, stage, total_rows, requested_by)
VALUES (%(id)s, %(tenant_id)s, %(key)s, %(fingerprint)s, %(is_atomic)s, %(description)s,
    'PROCESSING', 'STAGED', %(rows)s, %(requested_by)s)
RETURNING *
"""
_LOCK_BATCH: Final = """
SELECT * FROM transfer_batches
WHERE id = %(batch_id)s AND tenant_id = %(tenant_id)s
FOR NO KEY UPDATE
"""
_READ_ROWS: Final = """
SELECT position, idempotency_key, type, source, destination, amount_minor::text, currency,
    description, CASE WHEN metadata <> '{}' THEN metadata END, effective_at
FROM transfer_batch_rows
WHERE batch_id = %(batch_id)s AND position > %(after)s
ORDER BY position LIMIT %(limit)s
"""
_WAITING_ROWS: Final = """
SELECT * FROM transfer_batch_rows
WHERE batch_id = %(batch_id)s AND status = 'PENDING' AND transfer_id IS NOT NULL
ORDER BY position LIMIT %(limit)s
"""
_FIND_ACCOUNTS: Final = """
SELECT id, account_number, external_id, kind, currency FROM accounts
WHERE tenant_id = %(tenant_id)s AND id = ANY(%(ids)s::uuid[])
UNION ALL
SELECT id, account_number, external_id, kind, currency FROM accounts
WHERE tenant_id = %(tenant_id)s AND account_number = ANY(%(numbers)s::text[])
UNION ALL
SELECT id, account_number, external_id, kind, currency FROM accounts
WHERE tenant_id = %(tenant_id)s AND external_id = ANY(%(external_ids)s::text[])
UNION ALL
SELECT id, account_number, external_id, kind, currency FROM accounts
WHERE tenant_id = %(tenant_id)s AND kind = 'SYSTEM' AND currency = ANY(%(currencies)s::text[])
"""
_BOUND_WAITS: Final = "SELECT set_config('lock_timeout', %(wait)s, true)"
_LOCK_BALANCES: Final = """
SELECT account_id, currency, status, posted_minor::text, held_minor::text,
    overdraft_limit_minor::text, last_sequence, has_limits
FROM balances
WHERE tenant_id = %(tenant_id)s AND account_id = ANY(%(ids)s::uuid[])
ORDER BY account_id
FOR NO KEY UPDATE
"""
_TRANSFERS_OF_KEYS: Final = """
SELECT * FROM transfers
WHERE tenant_id = %(tenant_id)s AND idempotency_key = ANY(%(keys)s::text[])
"""
_TRANSFERS_BY_ID: Final = """
SELECT * FROM transfers WHERE tenant_id = %(tenant_id)s AND id = ANY(%(ids)s::uuid[])
"""
_SET_BALANCES: Final = """
UPDATE balances SET posted_minor = now.posted_minor, last_sequence = now.last_sequence
FROM unnest(%(ids)s::uuid[], %(posted)s::numeric[], %(sequences)s::bigint[])
    AS now (account_id, posted_minor, last_sequence)
WHERE balances.account_id = now.account_id
"""
# A transfer is accepted and at its end at once, and has one event.
_RECORD: Final = """
WITH decided AS MATERIALIZED (
    SELECT uuidv7() AS transfer_id, decided.*, row.idempotency_key, row.type, row.amount_minor,
        row.currency, row.description, row.metadata,
        coalesce(row.effective_at, now()) AS effective_at,
        CASE WHEN decided.code IS NULL THEN 'SUCCESS' ELSE 'FAILED' END AS state,
        CASE WHEN decided.code IS NULL THEN 'COMPLETED' ELSE 'FAILED' END AS stage
    FROM unnest(%(positions)s::int[], %(fingerprints)s::bytea[], %(sources)s::uuid[],
        %(destinations)s::uuid[], %(codes)s::text[], %(messages)s::text[])
        AS decided (position, fingerprint, source_id, destination_id, code, message)
    JOIN transfer_batch_rows AS row
        ON row.batch_id = %(batch_id)s AND row.position = decided.position
    ORDER BY decided.position
), recorded AS (
    INSERT INTO transfers (id, tenant_id, idempotency_key, fingerprint, type, state, stage,
        source_account_id, destination_account_id, amount_minor, currency, description, metadata,
        failure_code, failure_message, effective_at, completed_at, batch_id, requested_by)
    SELECT transfer_id, %(tenant_id)s, idempotency_key, fingerprint, type, state, stage, source_id,
        destination_id, amount_minor, currency, description, metadata, code, message, effective_at,
        now(), %(batch_id)s, %(requested_by)s
    FROM decided
), logged AS (
    INSERT INTO transfer_events (transfer_id, sequence, tenant_id, step, stage, cause, occurred_at)
    SELECT transfer_id, 1, %(tenant_id)s, %(step)s, stage, code, now() FROM decided
)
UPDATE transfer_batch_rows AS row
SET status = CASE WHEN decided.code IS NULL THEN 'SUCCEEDED' ELSE 'FAILED' END,
    code = decided.code, message = decided.message, transfer_id = decided.transfer_id
FROM decided
WHERE row.batch_id = %(batch_id)s AND row.position = decided.position
"""
_ENTER: Final = """
INSERT INTO ledger_entries (id, tenant_id, transfer_id, account_id, sequence, direction,
    amount_minor, currency, balance_after_minor, effective_at)
SELECT uuidv7(), %(tenant_id)s, posting.transfer_id, side.account_id, side.sequence, side.direction,
    posting.amount_minor, posting.currency, side.balance_after_minor, posting.effective_at
FROM (
    SELECT posting.*, row.transfer_id, row.amount_minor, row.currency,
        coalesce(row.effective_at, now()) AS effective_at
    FROM unnest(%(positions)s::int[], %(sources)s::uuid[], %(destinations)s::uuid[],
        %(debit_sequences)s::bigint[], %(debited)s::numeric[],
        %(credit_sequences)s::bigint[], %(credited)s::numeric[]) AS posting (position, source_id,
        destination_id, debit_sequence, debited_minor, credit_sequence, credited_minor)
    JOIN transfer_batch_rows AS row
        ON row.batch_id = %(batch_id)s AND row.position = posting.position
    ORDER BY posting.position
) AS posting
CROSS JOIN LATERAL (
    VALUES ('DEBIT', source_id, debit_sequence, debited_minor),
        ('CREDIT', destination_id, credit_sequence, credited_minor)
) AS side (direction, account_id, sequence, balance_after_minor)
"""
_SETTLE_ROWS: Final = """
UPDATE transfer_batch_rows AS row
SET status = outcome.status, code = outcome.code, message = outcome.message,
    transfer_id = outcome.transfer_id
FROM unnest(%(positions)s::int[], %(statuses)s::text[], %(codes)s::text[], %(messages)s::text[],
    %(transfer_ids)s::uuid[]) AS outcome (position, status, code, message, transfer_id)
WHERE row.batch_id = %(batch_id)s AND row.position = outcome.position
"""
_CANCEL_ROWS: Final = """
UPDATE transfer_batch_rows SET status = 'CANCELLED'
WHERE batch_id = %(batch_id)s AND status = 'PENDING'
"""
_ADVANCE: Final = """
UPDATE transfer_batches SET
    state = %(state)s, stage = %(stage)s, position = %(position)s,
    failure_code = %(failure_code)s, failure_message = %(failure_message)s,
    succeeded_rows = succeeded_rows + %(succeeded)s,
    replayed_rows = replayed_rows + %(replayed)s, failed_rows = failed_rows + %(failed)s,
    rejected_rows = rejected_rows + %(rejected)s, cancelled_rows = cancelled_rows + %(cancelled)s,
    started_at = coalesce(started_at, now()), updated_at = now(),
    completed_at = CASE WHEN %(state)s <> 'PROCESSING' THEN now() END
WHERE id = %(batch_id)s
RETURNING *
"""


class LockedBalance(NamedTuple):
    """A balance that is locked until the transaction ends: that of ``Balance`` which rows change.

    Parameters
    ----------
    posted_minor, held_minor, overdraft_limit_minor
        As text, which the driver reads in a fraction of the time.
    """

    account_id: AccountId
    currency: str
    status: str
    posted_minor: str
    held_minor: str
    overdraft_limit_minor: str | None
    last_sequence: int
    has_limits: bool


class MovedBalance(NamedTuple):
    """What is written of a locked balance."""

    account_id: AccountId
    posted_minor: int
    last_sequence: int


class NewTransfer(NamedTuple):
    """A row that becomes a transfer at its end: posted, or failed."""

    position: int
    fingerprint: bytes
    source: AccountId
    destination: AccountId
    failure: Failure | None


class Posting(NamedTuple):
    """The two entries of a row that is posted, and the balances that result from them."""

    position: int
    source: AccountId
    destination: AccountId
    debit_sequence: int
    debited_minor: int
    credit_sequence: int
    credited_minor: int


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """What is written on a row without a new transfer; one that waits for another stays PENDING."""

    position: int
    status: RowStatus
    failure: Failure | None
    transfer_id: TransferId | None
    is_replay: bool = False


class BatchStatements:
    """Statements of one transaction on one connection; they never commit."""

    def __init__(self, connection: AsyncConnection[DictRow]) -> None:
        self._connection = connection
        self.bounds = BatchBoundStatements(connection)

    async def claim_keys(
        self, tenant_id: TenantId, fingerprints: Mapping[str, bytes], *, operation: str
    ) -> set[str]:
        """Take the keys that are free, and name them.

        Notes
        -----
        In the keys' order, so that two batches cannot wait for each other. Waits for the end of
        another transaction that is just taking one of them.
        """
        keys = sorted(fingerprints)
        found = await self._all(
            _CLAIM,
            {
                "tenant_id": tenant_id,
                "operation": operation,
                "keys": array_text.texts(keys),
                "fingerprints": array_text.hashes(fingerprints[key] for key in keys),
            },
        )
        return {row["key"] for row in found}

    async def insert_batch(self, order: BatchOrder) -> TransferBatch:
        """Record a batch whose key is claimed, before its rows."""
        [row] = await self._all(
            _INSERT_BATCH,
            {
                "id": order.id,
                "tenant_id": order.tenant_id,
                "key": order.idempotency_key,
                "fingerprint": order.fingerprint,
                "is_atomic": order.is_atomic,
                "description": order.description,
                "rows": order.rows,
                "requested_by": order.requested_by,
            },
        )
        await record_change(
            self._connection,
            order.actor,
            "transfer_batch.create",
            tenant_id=order.tenant_id,
            subject_type="transfer_batch",
            subject_id=order.id,
            details={"rows": order.rows},
        )
        return batch_from(row)

    async def lock_batch(self, tenant_id: TenantId, batch_id: BatchId) -> TransferBatch | None:
        """Read a batch and lock it, so that no two chunks of it are posted at a time."""
        found = await self._all(_LOCK_BATCH, {"tenant_id": tenant_id, "batch_id": batch_id})
        return batch_from(found[0]) if found else None

    async def read_rows(self, batch_id: BatchId, *, after: int, limit: int) -> list[StagedRow]:
        """Read what rows ask for, in their order, from just behind a position."""
        # As tuples, and no more columns than are needed: this is done for every row of every batch.
        async with self._connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(_READ_ROWS, {"batch_id": batch_id, "after": after, "limit": limit})
            found = await cursor.fetchall()
        return [
            StagedRow(
                position, key, type_, source, destination, int(amount_minor), currency, *further
            )
            for position, key, type_, source, destination, amount_minor, currency, *further in found
        ]

    async def waiting_rows(self, batch_id: BatchId, *, limit: int) -> list[BatchRow]:
        """Read rows that wait for a transfer which was made elsewhere."""
        found = await self._all(_WAITING_ROWS, {"batch_id": batch_id, "limit": limit})
        return [row_from(row) for row in found]

    async def find_accounts(
        self,
        tenant_id: TenantId,
        references: Iterable[AccountReference],
        *,
        settlement_currencies: Collection[str],
    ) -> list[AccountIdentity]:
        """Find accounts by their names, and settlement accounts; some may come twice."""
        named = list(references)
        found = await self._all(
            _FIND_ACCOUNTS,
            {
                "tenant_id": tenant_id,
                "ids": array_text.uuids(n.id for n in named if n.id is not None),
                "numbers": array_text.texts(
                    n.account_number for n in named if n.account_number is not None
                ),
                "external_ids": array_text.texts(
                    n.external_id for n in named if n.external_id is not None
                ),
                "currencies": list(settlement_currencies),
            },
        )
        return [identity_from(row) for row in found]

    async def wait_at_most(self, seconds: float) -> None:
        """Bound how long each statement that follows waits for a lock."""
        await self._connection.execute(_BOUND_WAITS, {"wait": f"{round(seconds * 1_000)}ms"})

    async def lock_balances(
        self, tenant_id: TenantId, account_ids: Collection[AccountId]
    ) -> list[LockedBalance]:
        """Lock balances in the order of their ids, as every movement of money does."""
        # As tuples, as the rows are read: PostgreSQL waits for each chunk's.
        async with self._connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(
                _LOCK_BALANCES, {"tenant_id": tenant_id, "ids": array_text.uuids(account_ids)}
            )
            return [LockedBalance._make(row) for row in await cursor.fetchall()]

    async def transfers_of_keys(
        self, tenant_id: TenantId, keys: Collection[str]
    ) -> dict[str, Transfer]:
        """Read the transfers of keys."""
        found = await self._all(
            _TRANSFERS_OF_KEYS, {"tenant_id": tenant_id, "keys": array_text.texts(keys)}
        )
        return {row["idempotency_key"]: transfer_from(row) for row in found}

    async def transfers_by_id(
        self, tenant_id: TenantId, ids: Collection[UUID]
    ) -> dict[UUID, Transfer]:
        """Read transfers."""
        found = await self._all(
            _TRANSFERS_BY_ID, {"tenant_id": tenant_id, "ids": array_text.uuids(ids)}
        )
        return {row["id"]: transfer_from(row) for row in found}

    async def copy(self, table: str, columns: Sequence[str], data: bytes) -> None:
        """Add rows that stand in COPY's text format."""
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
        )
        async with self._connection.cursor() as cursor, cursor.copy(statement) as copy:
            await copy.write(data)

    async def record(self, batch: TransferBatch, transfers: Sequence[NewTransfer]) -> None:
        """Write transfers with their events, and the outcomes of their rows."""
        failures = [transfer.failure for transfer in transfers]
        await self._connection.execute(
            _RECORD,
            {
                "batch_id": batch.id,
                "tenant_id": batch.tenant_id,
                "requested_by": batch.requested_by,
                "step": Step.BATCH.value,
                "positions": array_text.numbers(transfer.position for transfer in transfers),
                "fingerprints": array_text.hashes(transfer.fingerprint for transfer in transfers),
                "sources": array_text.uuids(transfer.source for transfer in transfers),
                "destinations": array_text.uuids(transfer.destination for transfer in transfers),
                "codes": array_text.texts(f.code if f else None for f in failures),
                "messages": array_text.texts(f.message if f else None for f in failures),
            },
        )

    async def enter(self, batch: TransferBatch, postings: Sequence[Posting]) -> None:
        """Write the entries of transfers that are recorded."""
        await self._connection.execute(
            _ENTER,
            {
                "batch_id": batch.id,
                "tenant_id": batch.tenant_id,
                "positions": array_text.numbers(posting.position for posting in postings),
                "sources": array_text.uuids(posting.source for posting in postings),
                "destinations": array_text.uuids(posting.destination for posting in postings),
                "debit_sequences": array_text.numbers(p.debit_sequence for p in postings),
                "debited": array_text.numbers(p.debited_minor for p in postings),
                "credit_sequences": array_text.numbers(p.credit_sequence for p in postings),
                "credited": array_text.numbers(p.credited_minor for p in postings),
            },
        )

    async def set_balances(self, balances: Sequence[MovedBalance]) -> None:
        """Write balances that are locked and whose entries are written."""
        await self._connection.execute(
            _SET_BALANCES,
            {
                "ids": array_text.uuids(balance.account_id for balance in balances),
                "posted": array_text.numbers(balance.posted_minor for balance in balances),
                "sequences": array_text.numbers(balance.last_sequence for balance in balances),
            },
        )

    async def settle_rows(self, batch_id: BatchId, outcomes: Sequence[RowOutcome]) -> None:
        """Write outcomes on rows that become no transfers of their own."""
        failures = [outcome.failure for outcome in outcomes]
        await self._connection.execute(
            _SETTLE_ROWS,
            {
                "batch_id": batch_id,
                "positions": array_text.numbers(outcome.position for outcome in outcomes),
                "statuses": array_text.texts(outcome.status.value for outcome in outcomes),
                "codes": array_text.texts(f.code if f else None for f in failures),
                "messages": array_text.texts(f.message if f else None for f in failures),
                "transfer_ids": array_text.uuids(outcome.transfer_id for outcome in outcomes),
            },
        )

    async def cancel_rows(self, batch_id: BatchId) -> int:
        """Cancel all rows without an outcome, and tell how many those are."""
        cursor = await self._connection.execute(_CANCEL_ROWS, {"batch_id": batch_id})
        return cursor.rowcount

    async def advance(
        self,
        batch_id: BatchId,
        stage: BatchStage,
        *,
        position: int,
        new: Mapping[RowStatus, int],
        replayed: int = 0,
        failure: Failure | None = None,
    ) -> TransferBatch:
        """Write how far a locked batch has come, with the new outcomes of its rows."""
        [row] = await self._all(
            _ADVANCE,
            {
                "batch_id": batch_id,
                "state": state_of_batch(stage).value,
                "stage": stage.value,
                "position": position,
                "failure_code": failure and failure.code,
                "failure_message": failure and failure.message,
                "succeeded": new.get(RowStatus.SUCCEEDED, 0),
                "replayed": replayed,
                "failed": new.get(RowStatus.FAILED, 0),
                "rejected": new.get(RowStatus.REJECTED, 0),
                "cancelled": new.get(RowStatus.CANCELLED, 0),
            },
        )
        return batch_from(row)

    async def _all(self, statement: str, parameters: Mapping[str, Any]) -> list[DictRow]:
        cursor = await self._connection.execute(statement, parameters)
        return await cursor.fetchall()
