"""What the database holds of sums: entries within their transfer and hold, reversals as counted."""

from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import AsyncConnection, sql

from tests.support.ledger_rows import (
    ALICE,
    BOB,
    DONE,
    EMPTY,
    NEW,
    NOW,
    RIGHT_ROWS,
    SETTLEMENT,
    TRANSFER,
    Row,
    entry,
    insert,
)

BALANCES = {ALICE: (1, 100), BOB: (0, 0), SETTLEMENT: (1, -100), EMPTY: (0, 0)}
"""Sequence and amount of the small ledger's accounts."""

HELD = 40
IS_MANUAL = "UPDATE transfers SET captured_minor = 40 WHERE id = %(transfer)s"
ONE_CAPTURED = "UPDATE holds SET captured_minor = 1 WHERE transfer_id = %(transfer)s"
HAS_FAILED = """
UPDATE transfers SET state = 'FAILED', stage = 'FAILED', failure_code = 'x', failure_message = 'x',
    completed_at = now() WHERE id = %(transfer)s
"""
# Two legs of 40: one from Alice to Bob, which the small ledger has, and one from Bob.
HAS_LEGS = """
ALTER TABLE transfers DISABLE TRIGGER transfers_final;
UPDATE transfers SET leg_count = 2 WHERE id = %(transfer)s;
INSERT INTO transfer_legs
SELECT transfer_id, added.position, tenant_id, destination_account_id, source_account_id,
    amount_minor, currency
FROM transfer_legs, (VALUES (2), (3)) AS added (position)
"""


def posting(transfer: UUID, *moves: tuple[UUID, UUID, int]) -> list[Row]:
    """Give the entries of a transfer that moves amounts from one account to another."""
    after = dict(BALANCES)
    rows: list[Row] = []
    for source, destination, amount_minor in moves:
        for account, signed_minor in ((source, -amount_minor), (destination, amount_minor)):
            sequence, posted_minor = after[account]
            after[account] = sequence + 1, posted_minor + signed_minor
            rows.append(
                entry(
                    UUID(int=1_000 + len(rows)),
                    account,
                    sequence + 1,
                    transfer_id=transfer,
                    direction="DEBIT" if signed_minor < 0 else "CREDIT",
                    amount_minor=amount_minor,
                    balance_after_minor=posted_minor + signed_minor,
                )
            )
    return rows


async def prepare(ledger: AsyncConnection[Any], *statements: str) -> None:
    for statement in "; ".join(statements).split(";"):
        await ledger.execute(
            sql.SQL(statement), {"transfer": TRANSFER} if "%(" in statement else None
        )


async def enter(ledger: AsyncConnection[Any], entries: list[Row], *, at_once: bool) -> None:
    """Insert entries in one statement, or each in its own."""
    if at_once:
        await insert(ledger, "ledger_entries", *entries)
        return
    for one in entries:
        await insert(ledger, "ledger_entries", one)


OUT = (ALICE, BOB)
TOO_MUCH: dict[str, tuple[list[str], list[Row]]] = {
    "more than its amount": ([], posting(TRANSFER, (*OUT, HELD + 1))),
    "its amount in two parts": ([], posting(TRANSFER, (*OUT, 20), (*OUT, 20))),
    "its amount again": ([], posting(DONE, (SETTLEMENT, ALICE, 1))),
    "from another account": ([], posting(TRANSFER, (EMPTY, BOB, 1))),
    "back": ([], posting(TRANSFER, (BOB, ALICE, 1))),
    "after it has failed": ([HAS_FAILED], posting(TRANSFER, (*OUT, HELD))),
    "a hold that was not captured": ([IS_MANUAL], posting(TRANSFER, (*OUT, 1))),
    "more than was captured": ([IS_MANUAL, ONE_CAPTURED], posting(TRANSFER, (*OUT, 2))),
    "more than was captured, in two parts": (
        [IS_MANUAL, ONE_CAPTURED],
        posting(TRANSFER, (*OUT, 1), (*OUT, 1)),
    ),
    "from another account than the hold's": (
        [IS_MANUAL, ONE_CAPTURED],
        posting(TRANSFER, (BOB, ALICE, 1)),
    ),
    "more than a leg": ([HAS_LEGS], posting(TRANSFER, (*OUT, HELD + 1))),
    "a leg twice": ([HAS_LEGS], posting(TRANSFER, (*OUT, HELD), (*OUT, 1))),
    "more than the legs that were counted": ([HAS_LEGS], posting(TRANSFER, (BOB, ALICE, HELD + 1))),
    "from an account without a leg": ([HAS_LEGS], posting(TRANSFER, (EMPTY, BOB, 1))),
}
ENOUGH: dict[str, tuple[list[str], list[Row]]] = {
    "its amount": ([], posting(TRANSFER, (*OUT, HELD))),
    "what was captured": ([IS_MANUAL, ONE_CAPTURED], posting(TRANSFER, (*OUT, 1))),
    "its legs": ([HAS_LEGS], posting(TRANSFER, (*OUT, HELD), (BOB, ALICE, HELD))),
}


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(("statements", "entries"), TOO_MUCH.values(), ids=TOO_MUCH)
async def test_a_transfer_takes_no_more_than_it_may(
    ledger: AsyncConnection[Any], statements: list[str], entries: list[Row], *, at_once: bool
) -> None:
    await prepare(ledger, *statements)
    with pytest.raises(psycopg.errors.CheckViolation) as refused:
        await enter(ledger, entries, at_once=at_once)
    assert refused.value.diag.constraint_name == "ledger_entries_within"


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(("statements", "entries"), ENOUGH.values(), ids=ENOUGH)
async def test_a_transfer_takes_what_it_may_and_nothing_after_that(
    ledger: AsyncConnection[Any], statements: list[str], entries: list[Row], *, at_once: bool
) -> None:
    await prepare(ledger, *statements)
    await enter(ledger, entries, at_once=at_once)
    await ledger.execute("SET CONSTRAINTS ALL IMMEDIATE")
    last = {one["account_id"]: one for one in entries}[ALICE]
    further = {
        **last,
        "id": NEW,
        "sequence": last["sequence"] + 1,
        "direction": "DEBIT",
        "amount_minor": 1,
        "balance_after_minor": last["balance_after_minor"] - 1,
    }
    with pytest.raises(psycopg.errors.CheckViolation) as refused:
        await insert(ledger, "ledger_entries", further)
    assert refused.value.diag.constraint_name == "ledger_entries_within"


@pytest.mark.parametrize("debit_comes", ["with its credit", "after its credit"])
async def test_a_right_posting_hides_no_wrong_entry_beside_it(
    ledger: AsyncConnection[Any], debit_comes: str
) -> None:
    debit, credit = posting(TRANSFER, (*OUT, HELD))
    wrong = {**posting(NEW, (EMPTY, SETTLEMENT, 1))[1], "id": NEW}
    beside = [debit, wrong]
    if debit_comes == "after its credit":
        await insert(ledger, "ledger_entries", credit)
    else:
        beside += [credit, {**wrong, "id": UUID(int=2), "sequence": 3, "balance_after_minor": -98}]
    with pytest.raises(psycopg.errors.ForeignKeyViolation) as refused:
        await insert(ledger, "ledger_entries", *beside)
    assert refused.value.diag.constraint_name == "ledger_entries_transfer"


def reversal(amount_minor: int) -> Row:
    return {
        **RIGHT_ROWS["transfers"],
        "type": "REVERSAL",
        "reversal_of": DONE,
        "source_account_id": ALICE,
        "destination_account_id": SETTLEMENT,
        "amount_minor": amount_minor,
    }


async def count(ledger: AsyncConnection[Any], amount_minor: int) -> None:
    """Say how much of the deposit of 100 is reversed."""
    statement = "UPDATE transfers SET reversed_minor = %s WHERE id = %s"
    await ledger.execute(statement, (amount_minor, DONE))


async def fail(ledger: AsyncConnection[Any]) -> None:
    """Let the reversal fail."""
    await ledger.execute(sql.SQL(HAS_FAILED), {"transfer": NEW})


async def require_refused(ledger: AsyncConnection[Any]) -> None:
    with pytest.raises(psycopg.errors.CheckViolation) as refused:
        await ledger.execute("SET CONSTRAINTS ALL IMMEDIATE")
    assert refused.value.diag.constraint_name == "transfers_reversals_counted"


@pytest.mark.parametrize("counted", [0, 59, 61])
async def test_a_reversal_that_is_not_counted_is_refused_at_commit(
    ledger: AsyncConnection[Any], counted: int
) -> None:
    await insert(ledger, "transfers", reversal(60))
    await count(ledger, counted)
    await require_refused(ledger)


async def test_a_reversal_of_more_than_has_moved_cannot_be_counted(
    ledger: AsyncConnection[Any],
) -> None:
    await insert(ledger, "transfers", reversal(101))
    with pytest.raises(psycopg.errors.CheckViolation) as refused:
        await count(ledger, 101)
    assert refused.value.diag.constraint_name == "transfers_reversed_range"


async def test_what_is_counted_as_reversed_has_its_reversal(ledger: AsyncConnection[Any]) -> None:
    await count(ledger, 1)
    await require_refused(ledger)


async def test_a_new_transfer_counts_nothing_as_reversed(ledger: AsyncConnection[Any]) -> None:
    done = {"state": "SUCCESS", "stage": "COMPLETED", "completed_at": NOW, "reversed_minor": 1}
    await insert(ledger, "transfers", {**RIGHT_ROWS["transfers"], **done})
    await require_refused(ledger)


async def test_a_reversal_is_counted_until_it_fails(ledger: AsyncConnection[Any]) -> None:
    await insert(ledger, "transfers", reversal(60))
    await count(ledger, 60)
    await ledger.execute("SET CONSTRAINTS ALL IMMEDIATE")
    await ledger.execute("SET CONSTRAINTS ALL DEFERRED")
    await ledger.execute("SAVEPOINT counted")
    await count(ledger, 0)
    await require_refused(ledger)
    await ledger.execute("ROLLBACK TO counted")
    await fail(ledger)
    await require_refused(ledger)
    await ledger.execute("ROLLBACK TO counted")
    await fail(ledger)
    await count(ledger, 0)
    await ledger.execute("SET CONSTRAINTS ALL IMMEDIATE")
