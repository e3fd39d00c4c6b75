"""Proofs of the ledger's invariants in SQL: what each examined, and what is off.

The queries read whole tables. They share one snapshot, so that traffic cannot look like a fault.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from persistence.limits import USED_THIS_MONTH

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


# The queries about transfers are over what stands before them as ``slice``: all of them, or some.
# They look up what belongs to each by its index. A join of sets takes two thirds of the time over
# all of them, and is quadratic over a slice of whose rows the statistics do not know yet.
ALL_TRANSFERS: Final = "WITH slice AS NOT MATERIALIZED (SELECT * FROM transfers)"

# What has moved is what entries say, and what is held has an open hold, by the transfer's stage.
_TRANSFERS_OFF: Final = """
SELECT 'transfer ' || transfer.id AS subject,
    'in stage ' || transfer.stage || ' it has ' || entry.count || ' entries, of which '
    || entry.right_count || ' are between its own accounts, moving ' || entry.moved_minor
    || ', and holds that are ' || coalesce(hold.statuses, 'missing') AS message
FROM slice AS transfer
CROSS JOIN LATERAL (
    SELECT count(*) AS count,
        count(*) FILTER (WHERE entry.currency = transfer.currency
            AND entry.account_id = CASE entry.direction
                WHEN 'DEBIT' THEN transfer.source_account_id
                ELSE transfer.destination_account_id END) AS right_count,
        coalesce(sum(entry.amount_minor) FILTER (WHERE entry.direction = 'DEBIT'), 0)
            AS moved_minor,
        coalesce(sum(entry.amount_minor) FILTER (WHERE entry.direction = 'CREDIT'), 0)
            AS received_minor
    FROM ledger_entries AS entry WHERE entry.transfer_id = transfer.id
) AS entry
CROSS JOIN LATERAL (
    SELECT string_agg(DISTINCT held.status, ' and ') AS statuses
    FROM holds AS held WHERE held.transfer_id = transfer.id
) AS hold
WHERE transfer.leg_count IS NULL AND (
    entry.count <> entry.right_count
    OR entry.moved_minor <> entry.received_minor
    OR CASE
        WHEN transfer.stage IN ('POSTED', 'COMPLETED') THEN
            -- A chunk of a batch reserves nothing: it posts under the same locks.
            coalesce(hold.statuses, CASE WHEN transfer.batch_id IS NULL THEN '' ELSE 'CAPTURED' END)
                <> 'CAPTURED'
            OR entry.moved_minor <> coalesce(transfer.captured_minor, transfer.amount_minor)
            OR transfer.captured_minor IS NULL AND entry.count <> 2
        WHEN transfer.stage IN ('RESERVED', 'AWAITING_APPROVAL') THEN
            coalesce(hold.statuses, '') <> 'HELD'
            OR entry.moved_minor <> coalesce(transfer.captured_minor, 0)
        ELSE
            entry.count <> 0 OR coalesce(hold.statuses, 'RELEASED') <> 'RELEASED'
        END)
"""

# A transfer with several legs has posted all of them, in both directions, or none.
_LEGS_OFF: Final = """
SELECT 'transfer ' || transfer.id AS subject,
    'in stage ' || transfer.stage || ' the sums of its entries and legs differ, or it holds '
    || 'what it should not' AS message
FROM slice AS transfer
WHERE transfer.leg_count IS NOT NULL AND (
    EXISTS (
        SELECT FROM (
            SELECT entry.account_id, entry.direction, entry.amount_minor
            FROM ledger_entries AS entry WHERE entry.transfer_id = transfer.id
            UNION ALL
            SELECT side.account_id, side.direction, -leg.amount_minor
            FROM transfer_legs AS leg, LATERAL (VALUES
                (leg.source_account_id, 'DEBIT'), (leg.destination_account_id, 'CREDIT')
            ) AS side (account_id, direction)
            WHERE leg.transfer_id = transfer.id AND transfer.stage IN ('POSTED', 'COMPLETED')
        ) AS moved
        GROUP BY account_id, direction
        HAVING sum(amount_minor) <> 0)
    OR transfer.leg_count <> (
        SELECT count(*) FROM transfer_legs AS leg WHERE leg.transfer_id = transfer.id)
    OR EXISTS (
        SELECT FROM holds AS hold WHERE hold.transfer_id = transfer.id
            AND hold.status <> CASE
                WHEN transfer.stage IN ('POSTED', 'COMPLETED') THEN 'CAPTURED'
                WHEN transfer.stage IN ('RESERVED', 'AWAITING_APPROVAL') THEN 'HELD'
                ELSE 'RELEASED' END))
"""

# What a transfer says of its captures and reversals is what they sum to.
_SUMS_OFF: Final = """
SELECT 'transfer ' || transfer.id AS subject,
    'it says that ' || coalesce(transfer.captured_minor, 0) || ' are captured and '
    || transfer.reversed_minor || ' reversed; its captures sum to ' || capture.sum_minor
    || ' and its reversals to ' || reversal.sum_minor AS message
FROM slice AS transfer
CROSS JOIN LATERAL (
    SELECT coalesce(sum(captured.amount_minor), 0) AS sum_minor
    FROM transfer_operations AS captured
    WHERE captured.transfer_id = transfer.id AND captured.operation = 'capture'
) AS capture
CROSS JOIN LATERAL (
    SELECT coalesce(sum(taken.amount_minor), 0) AS sum_minor
    FROM transfers AS taken
    WHERE taken.reversal_of = transfer.id AND taken.state <> 'FAILED'
) AS reversal
WHERE coalesce(transfer.captured_minor, 0) <> capture.sum_minor
    OR transfer.reversed_minor <> reversal.sum_minor
"""

# What a batch counts is what its rows and their transfers say.
BATCHES_OFF: Final = """
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
"""

_HELD_OFF: Final = """
SELECT 'account ' || balance.account_id AS subject,
    'held is ' || balance.held_minor || '; its open holds sum to '
    || coalesce(open.sum_minor, 0) AS message
FROM balances AS balance
LEFT JOIN (
    SELECT account_id, sum(amount_minor - captured_minor) AS sum_minor
    FROM holds
    WHERE status = 'HELD'
    GROUP BY account_id
) AS open USING (account_id)
WHERE balance.held_minor <> coalesce(open.sum_minor, 0)
"""

# Of this month: what was used before is held against nothing any more.
USAGE_OFF: Final = f"""
SELECT 'account ' || coalesce(told.account_id, held.account_id) AS subject,
    'of its limits ' || coalesce(told.used_minor, 0) || ' are used on '
    || coalesce(told.day, held.day) || '; what it sent that day sums to '
    || coalesce(held.used_minor, 0) AS message
FROM (
    SELECT * FROM account_usage
    WHERE day >= date_trunc('month', now() AT TIME ZONE 'UTC')::date
) AS told
FULL JOIN ({USED_THIS_MONTH}) AS held USING (account_id, day)
WHERE coalesce(told.used_minor, 0) <> coalesce(held.used_minor, 0)
UNION ALL
SELECT 'account ' || balance.account_id AS subject,
    'its balance and its limits disagree about whether it has any' AS message
FROM balances AS balance
LEFT JOIN account_limits AS limits USING (account_id)
WHERE balance.has_limits <> (limits.account_id IS NOT NULL)
"""  # noqa: S608 - of this package

TRANSFERS_OFF: Final = f"{_TRANSFERS_OFF} UNION ALL {_LEGS_OFF} UNION ALL {_SUMS_OFF}"

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
            f"{_HELD_OFF} UNION ALL {USAGE_OFF}",
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
            f"{ALL_TRANSFERS} {TRANSFERS_OFF} UNION ALL {BATCHES_OFF}",
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
