"""Proofs of the ledger's invariants in SQL: what each examined, and what is off.

The queries read whole tables. They share one snapshot, so that traffic cannot look like a fault.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

PROOF_TIMEOUT_SECONDS: Final = 600
VIOLATIONS_SHOWN_MAXIMUM: Final = 1_000
"""Violations that one query reports at most."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is not as it must be."""

    subject: str
    message: str


@dataclass(frozen=True, slots=True)
class LedgerProof:
    """What a query examined, and what it found."""

    examined: int
    violations: tuple[Violation, ...]


# For each invariant: what is examined, and the rows that break it as (subject, message).
_PROOFS: Final[Mapping[int, tuple[str, str]]] = MappingProxyType(
    {
        1: (
            "SELECT count(DISTINCT (tenant_id, currency)) FROM balances",
            """
            SELECT 'tenant ' || tenant_id || ' ' || currency AS subject,
                'all posted balances sum to ' || sum(posted_minor) || ', not to 0' AS message
            FROM balances
            GROUP BY tenant_id, currency
            HAVING sum(posted_minor) <> 0
            """,
        ),
        2: (
            "SELECT count(*) FROM balances",
            """
            SELECT 'account ' || balance.account_id AS subject,
                'posted is ' || balance.posted_minor || ' at sequence ' || balance.last_sequence
                || '; its entries sum to ' || coalesce(total.sum_minor, 0)
                || ' and its last one, ' || coalesce(total.last_sequence, 0) || ', says '
                || coalesce(last.balance_after_minor, 0) AS message
            FROM balances AS balance
            LEFT JOIN (
                SELECT account_id, max(sequence) AS last_sequence,
                    sum(CASE direction WHEN 'CREDIT' THEN amount_minor ELSE -amount_minor END)
                        AS sum_minor
                FROM ledger_entries
                GROUP BY account_id
            ) AS total USING (account_id)
            LEFT JOIN ledger_entries AS last
                ON last.account_id = total.account_id AND last.sequence = total.last_sequence
            WHERE balance.posted_minor <> coalesce(total.sum_minor, 0)
                OR balance.posted_minor <> coalesce(last.balance_after_minor, 0)
                OR balance.last_sequence <> coalesce(total.last_sequence, 0)
            """,
        ),
        3: (
            "SELECT count(*) FROM ledger_entries",
            """
            SELECT 'entry ' || id AS subject,
                'sequence ' || sequence || ' with balance ' || balance_after_minor
                || ' does not follow from sequence ' || coalesce(previous_sequence, 0)
                || ' with balance ' || coalesce(previous_minor, 0) AS message
            FROM (
                SELECT *, lag(sequence) OVER account AS previous_sequence,
                    lag(balance_after_minor) OVER account AS previous_minor
                FROM ledger_entries
                WINDOW account AS (PARTITION BY account_id ORDER BY sequence)
            ) AS entry
            WHERE sequence <> coalesce(previous_sequence, 0) + 1
                OR balance_after_minor <> coalesce(previous_minor, 0)
                    + CASE direction WHEN 'CREDIT' THEN amount_minor ELSE -amount_minor END
            """,
        ),
        4: (
            "SELECT count(*) FROM balances",
            """
            SELECT 'account ' || balance.account_id AS subject,
                'held is ' || balance.held_minor || '; its open holds sum to '
                || coalesce(open.sum_minor, 0) AS message
            FROM balances AS balance
            LEFT JOIN (
                SELECT account_id, sum(amount_minor) AS sum_minor
                FROM holds
                WHERE status = 'HELD'
                GROUP BY account_id
            ) AS open USING (account_id)
            WHERE balance.held_minor <> coalesce(open.sum_minor, 0)
            """,
        ),
        5: (
            "SELECT count(*) FROM balances WHERE kind = 'CUSTOMER'",
            """
            SELECT 'account ' || account_id AS subject,
                'posted is ' || posted_minor || ', below its overdraft limit of '
                || overdraft_limit_minor AS message
            FROM balances
            WHERE kind = 'CUSTOMER' AND posted_minor < -overdraft_limit_minor
            """,
        ),
        6: (
            "SELECT count(*) FROM transfers",
            """
            SELECT 'transfer ' || transfer.id AS subject,
                'in stage ' || transfer.stage || ' it has ' || coalesce(entry.count, 0)
                || ' entries, of which ' || coalesce(entry.right_count, 0)
                || ' are its own two, and a hold that is ' || coalesce(hold.status, 'missing')
                AS message
            FROM transfers AS transfer
            LEFT JOIN (
                SELECT entry.transfer_id, count(*) AS count,
                    count(*) FILTER (WHERE entry.amount_minor = owner.amount_minor
                        AND entry.currency = owner.currency
                        AND entry.account_id = CASE entry.direction
                            WHEN 'DEBIT' THEN owner.source_account_id
                            ELSE owner.destination_account_id END) AS right_count,
                    count(DISTINCT entry.direction) AS directions
                FROM ledger_entries AS entry
                JOIN transfers AS owner ON owner.id = entry.transfer_id
                GROUP BY entry.transfer_id
            ) AS entry ON entry.transfer_id = transfer.id
            LEFT JOIN holds AS hold ON hold.transfer_id = transfer.id
            WHERE CASE
                WHEN transfer.stage IN ('POSTED', 'COMPLETED') THEN
                    coalesce(entry.count, 0) <> 2 OR entry.right_count <> 2
                    OR entry.directions <> 2 OR coalesce(hold.status,
                        -- A chunk of a batch reserves nothing: it posts under the same locks.
                        CASE WHEN transfer.batch_id IS NOT NULL THEN 'CAPTURED' ELSE '' END)
                        <> 'CAPTURED'
                WHEN transfer.stage = 'RESERVED' THEN
                    entry.count IS NOT NULL OR coalesce(hold.status, '') <> 'HELD'
                ELSE
                    entry.count IS NOT NULL OR hold.status IN ('HELD', 'CAPTURED')
                END
            UNION ALL
            SELECT 'batch ' || batch.id AS subject,
                'counts ' || batch.succeeded_rows || ' rows that succeeded and '
                || batch.failed_rows || ' that failed; its rows and their transfers say '
                || told.succeeded || ' and ' || told.failed AS message
            FROM transfer_batches AS batch
            CROSS JOIN LATERAL (
                SELECT
                    count(*) FILTER (WHERE row.status = 'SUCCEEDED' AND owner.state = 'SUCCESS')
                        AS succeeded,
                    count(*) FILTER (WHERE row.status = 'FAILED' AND owner.state = 'FAILED')
                        AS failed
                FROM transfer_batch_rows AS row
                JOIN transfers AS owner ON owner.id = row.transfer_id
                    AND owner.tenant_id = batch.tenant_id
                    AND owner.idempotency_key = row.idempotency_key
                WHERE row.batch_id = batch.id
            ) AS told
            WHERE (batch.succeeded_rows, batch.failed_rows)
                IS DISTINCT FROM (told.succeeded, told.failed)
            """,
        ),
    }
)

PROVED_IN_SQL: Final = tuple(_PROOFS)
"""Numbers of the invariants that the database alone can prove."""


async def prove(connection: AsyncConnection, invariant: int) -> LedgerProof:
    """Run the proof of one invariant of ``PROVED_IN_SQL`` in a caller's snapshot."""
    count, violations = _PROOFS[invariant]
    await connection.execute(text(f"SET LOCAL statement_timeout = '{PROOF_TIMEOUT_SECONDS}s'"))
    examined = await connection.scalar(text(count))
    found = await connection.execute(text(f"{violations} LIMIT {VIOLATIONS_SHOWN_MAXIMUM}"))
    return LedgerProof(
        examined=int(examined or 0),
        violations=tuple(Violation(row.subject, row.message) for row in found),
    )
