"""A small ledger in raw SQL, and a right row for each table, to be made wrong one way at a time."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection, sql
from psycopg.types.json import Jsonb

from domain.account_numbers import account_number_from
from domain.limits import AMOUNT_MAXIMUM_MINOR
from tests.support.postgres import PostgresServer

Row = Mapping[str, Any]

TENANT, OTHER_TENANT, NOBODY = (UUID(int=number) for number in (1, 2, 3))
USER, ALICE, BOB, EMPTY, SETTLEMENT = (UUID(int=number) for number in range(10, 15))
TRANSFER, DONE, HOLD, ALICES_ENTRY, SETTLEMENTS_ENTRY = (UUID(int=n) for n in range(20, 25))
BATCH = UUID(int=30)
NEW = UUID(int=99)
RULE, APPROVER = UUID(int=30), UUID(int=31)
DIGEST = b"\x01" * 32
NOW = "2026-01-01T00:00:00Z"
TOO_MUCH = AMOUNT_MAXIMUM_MINOR + 1


def number(account: int) -> str:
    return account_number_from(10**13 + account)


def _account(account_id: UUID, which: int, **changes: Any) -> Row:
    return {
        "id": account_id,
        "tenant_id": TENANT,
        "account_number": number(which),
        "user_id": USER,
        "external_id": None,
        "kind": "CUSTOMER",
        "currency": "EUR",
        **changes,
    }


def _balance(account_id: UUID, **changes: Any) -> Row:
    return {
        "account_id": account_id,
        "tenant_id": TENANT,
        "currency": "EUR",
        "kind": "CUSTOMER",
        "overdraft_limit_minor": 0,
        **changes,
    }


def _transfer(transfer_id: UUID, key: str, **changes: Any) -> Row:
    return {
        "id": transfer_id,
        "tenant_id": TENANT,
        "idempotency_key": key,
        "fingerprint": DIGEST,
        "type": "INTERNAL",
        "state": "PROCESSING",
        "stage": "RESERVED",
        "source_account_id": ALICE,
        "destination_account_id": BOB,
        "amount_minor": 40,
        "currency": "EUR",
        "effective_at": NOW,
        **changes,
    }


def entry(entry_id: UUID, account_id: UUID, sequence: int, **changes: Any) -> Row:
    return {
        "id": entry_id,
        "tenant_id": TENANT,
        "transfer_id": DONE,
        "account_id": account_id,
        "sequence": sequence,
        "direction": "CREDIT",
        "amount_minor": 100,
        "currency": "EUR",
        "balance_after_minor": 100,
        "effective_at": NOW,
        **changes,
    }


def _key(key: str) -> Row:
    return {"tenant_id": TENANT, "key": key, "operation": "transfer.create", "fingerprint": DIGEST}


def _hold(hold_id: UUID, transfer_id: UUID) -> Row:
    return {
        "id": hold_id,
        "tenant_id": TENANT,
        "transfer_id": transfer_id,
        "account_id": ALICE,
        "currency": "EUR",
        "amount_minor": 40,
        "status": "HELD",
    }


def _leg(position: int) -> Row:
    return {
        "transfer_id": TRANSFER,
        "position": position,
        "tenant_id": TENANT,
        "source_account_id": ALICE,
        "destination_account_id": BOB,
        "amount_minor": 40,
        "currency": "EUR",
    }


def _batch(batch_id: UUID, key: str) -> Row:
    return {
        "id": batch_id,
        "tenant_id": TENANT,
        "idempotency_key": key,
        "fingerprint": DIGEST,
        "is_atomic": False,
        "state": "PROCESSING",
        "stage": "STAGED",
        "total_rows": 2,
        "requested_by": UUID(int=5),
    }


def _batch_row(position: int) -> Row:
    return {
        "batch_id": BATCH,
        "tenant_id": TENANT,
        "position": position,
        "idempotency_key": f"row-{position}",
        "type": "INTERNAL",
        "source": str(ALICE),
        "destination": str(BOB),
        "amount_minor": 40,
        "currency": "EUR",
    }


def _operation(key: str, **changes: Any) -> Row:
    return {
        "tenant_id": TENANT,
        "idempotency_key": key,
        "transfer_id": TRANSFER,
        "operation": "approve",
        "amount_minor": None,
        "requested_by": APPROVER,
        "result": Jsonb({}),
        **changes,
    }


ORDER = UUID(int=32)


def _standing_order(order_id: UUID, key: str, **changes: Any) -> Row:
    return {
        "id": order_id,
        "tenant_id": TENANT,
        "idempotency_key": key,
        "fingerprint": DIGEST,
        "type": "INTERNAL",
        "source_account_id": ALICE,
        "destination_account_id": BOB,
        "amount_minor": 10,
        "currency": "EUR",
        "interval_seconds": 60,
        "start_at": NOW,
        "missed_runs": "SKIP",
        "created_by": UUID(int=5),
        **changes,
    }


def _rule(rule_id: UUID, threshold_minor: int) -> Row:
    return {
        "id": rule_id,
        "tenant_id": TENANT,
        "currency": "EUR",
        "threshold_minor": threshold_minor,
        "approvers": 1,
        "deadline_seconds": 60,
    }


def _usage(day: str) -> Row:
    return {"account_id": ALICE, "tenant_id": TENANT, "day": day, "used_minor": 5}


def _run(scheduled_at: str, **changes: Any) -> Row:
    return {
        "order_id": ORDER,
        "scheduled_at": scheduled_at,
        "tenant_id": TENANT,
        "state": "PROCESSING",
        "transfer_id": NEW,
        **changes,
    }


def _session(number: int) -> Row:
    return {
        "token_hash": bytes([number]) * 32,
        "tenant_id": TENANT,
        "api_key_id": UUID(int=7),
        "viewed_tenant_id": TENANT,
    }


def _rotated_key(key_id: UUID, *, secret: int, previous: int) -> Row:
    return {
        "id": key_id,
        "tenant_id": TENANT,
        "name": "key",
        "prefix": "trf_",
        "secret_hash": bytes([secret]) * 32,
        "scopes": ["users:read"],
        "previous_secret_hash": bytes([previous]) * 32,
        "previous_expires_at": NOW,
        "issuer": None,
        "subject": None,
        "requests_per_second": 1,
        "requests_burst": 1,
    }


def _change() -> Row:
    return {
        "tenant_id": TENANT,
        "actor_kind": "api_key",
        "actor_name": "key",
        "action": "account.freeze",
        "subject_type": "account",
        "subject_id": str(ALICE),
        "details": Jsonb({}),
    }


SEALED_AT = "2026-01-02T00:00:00Z"


def _seal(seal_number: int, previous: bytes, digest: bytes) -> Row:
    return {
        "number": seal_number,
        "previous_hash": previous,
        "root": DIGEST,
        "segments": 1,
        "entries": 1,
        "position": seal_number,
        "sealed_at": SEALED_AT,
        "hash": digest,
    }


def _segment(seal_number: int, account_id: UUID) -> Row:
    return {
        "seal_number": seal_number,
        "account_id": account_id,
        "first_sequence": 1,
        "last_sequence": 1,
        "records": bytes(80),
        "digest": DIGEST,
    }


def _proof(name: str) -> Row:
    return {"name": name, "pass_began_at": NOW, "advanced_at": NOW}


def _violation(subject: str) -> Row:
    return {
        "proof": "accounts",
        "invariant": 2,
        "subject": subject,
        "message": "is off",
        "first_seen_at": NOW,
        "last_seen_at": NOW,
    }


NEXT_SLOT = "2026-01-01T00:00:30Z"


def _service_sample(slot_at: str) -> Row:
    return {
        "slot_at": slot_at,
        "stuck": 1,
        "is_stuck_whole": True,
        "violations": 0,
        "proof_age_seconds": None,
    }


def _tenant_sample(slot_at: str) -> Row:
    return {"slot_at": slot_at, "tenant_id": TENANT, "in_flight": 2, "stuck": 1}


def _held_sample(slot_at: str) -> Row:
    return {"slot_at": slot_at, "tenant_id": TENANT, "currency": "EUR", "held_minor": 40}


SETTLEMENTS_DEBIT = {"direction": "DEBIT", "balance_after_minor": -100}

# A deposit of 100 to Alice that is done, and 40 held for Bob.
LEDGER: list[tuple[str, Row]] = [
    ("tenants", {"id": TENANT, "name": "one"}),
    ("tenants", {"id": OTHER_TENANT, "name": "two"}),
    (
        "api_keys",
        {
            "id": UUID(int=5),
            "tenant_id": TENANT,
            "name": "key",
            "prefix": "trf_",
            "secret_hash": DIGEST,
            "scopes": [],
        },
    ),
    ("users", {"id": USER, "tenant_id": TENANT, "name": "Ada", "external_id": "ada"}),
    ("accounts", _account(ALICE, 1, external_id="alice")),
    ("accounts", _account(BOB, 2)),
    ("accounts", _account(EMPTY, 3)),
    ("accounts", _account(SETTLEMENT, 4, kind="SYSTEM", user_id=None)),
    (
        "balances",
        _balance(ALICE, posted_minor=100, held_minor=40, overdraft_limit_minor=50, last_sequence=1),
    ),
    ("balances", _balance(BOB)),
    (
        "balances",
        _balance(
            SETTLEMENT,
            kind="SYSTEM",
            overdraft_limit_minor=None,
            posted_minor=-100,
            last_sequence=1,
        ),
    ),
    ("idempotency_keys", _key("transfer")),
    ("idempotency_keys", _key("done")),
    ("idempotency_keys", _key("free")),
    ("idempotency_keys", _key("order")),
    ("standing_orders", _standing_order(ORDER, "order")),
    ("standing_order_runs", _run(NOW)),
    ("idempotency_keys", _key("batch")),
    ("idempotency_keys", _key("free-batch")),
    ("transfer_batches", _batch(BATCH, "batch")),
    ("transfer_batch_rows", _batch_row(1)),
    ("transfers", _transfer(TRANSFER, "transfer")),
    (
        "transfers",
        _transfer(
            DONE,
            "done",
            type="DEPOSIT",
            state="SUCCESS",
            stage="COMPLETED",
            source_account_id=SETTLEMENT,
            destination_account_id=ALICE,
            amount_minor=100,
            completed_at=NOW,
        ),
    ),
    ("holds", _hold(HOLD, TRANSFER)),
    (
        "transfer_events",
        {
            "transfer_id": TRANSFER,
            "sequence": 1,
            "tenant_id": TENANT,
            "step": "accept",
            "stage": "ACCEPTED",
        },
    ),
    ("idempotency_keys", _key("operation")),
    ("idempotency_keys", _key("another-operation")),
    ("transfer_legs", _leg(1)),
    ("transfer_operations", _operation("operation")),
    ("approval_rules", _rule(RULE, 1_000)),
    ("account_limits", {"account_id": ALICE, "tenant_id": TENANT, "per_day_minor": 10}),
    ("account_usage", _usage("2026-01-01")),
    (
        "api_keys",
        {
            "id": UUID(int=6),
            "tenant_id": TENANT,
            "name": "subject",
            "prefix": "",
            "scopes": [],
            "issuer": "https://issuer",
            "subject": "ada",
        },
    ),
    ("api_keys", _rotated_key(UUID(int=7), secret=3, previous=4)),
    ("audit_log", _change()),
    ("ledger_seals", _seal(1, bytes(32), DIGEST)),
    ("ledger_seal_segments", _segment(1, ALICE)),
    ("ledger_proofs", _proof("accounts")),
    ("ledger_violations", _violation("account a")),
    ("console_sessions", _session(1)),
    ("service_samples", _service_sample(NOW)),
    ("service_samples", _service_sample(NEXT_SLOT)),
    ("tenant_samples", _tenant_sample(NOW)),
    ("held_samples", _held_sample(NOW)),
]
ENTRIES: list[Row] = [
    entry(ALICES_ENTRY, ALICE, 1),
    entry(SETTLEMENTS_ENTRY, SETTLEMENT, 1, **SETTLEMENTS_DEBIT),
]

# One further row a table that the ledger above takes.
RIGHT_ROWS: Mapping[str, Row] = {
    "tenants": {"id": NEW, "name": "three"},
    "api_keys": _rotated_key(NEW, secret=5, previous=6),
    "users": {"id": NEW, "tenant_id": TENANT, "name": "Bob", "external_id": "bob"},
    "accounts": _account(NEW, 9, external_id="new"),
    "balances": _balance(EMPTY),
    "idempotency_keys": _key("new"),
    "transfers": _transfer(NEW, "free", metadata=Jsonb({"a": 1})),
    "standing_orders": _standing_order(NEW, "free"),
    "standing_order_runs": _run("2026-01-01T00:01:00Z"),
    "unbalanced_postings": {"tenant_id": TENANT, "transfer_id": DONE},
    "transfer_batches": _batch(NEW, "free-batch"),
    "transfer_batch_rows": _batch_row(2),
    "holds": _hold(NEW, DONE),
    "transfer_events": {
        "transfer_id": TRANSFER,
        "sequence": 2,
        "tenant_id": TENANT,
        "step": "reserve",
        "stage": "RESERVED",
    },
    "ledger_entries": entry(NEW, ALICE, 2, transfer_id=TRANSFER, balance_after_minor=200),
    "transfer_legs": _leg(2),
    "transfer_operations": _operation("another-operation", requested_by=NEW),
    "approval_rules": _rule(NEW, 2_000),
    "account_limits": {"account_id": BOB, "tenant_id": TENANT, "per_day_minor": 10},
    "account_usage": _usage("2026-01-02"),
    "audit_log": _change(),
    "ledger_seals": _seal(2, DIGEST, b"\x02" * 32),
    "ledger_seal_segments": _segment(1, SETTLEMENT),
    "ledger_proofs": _proof("entries"),
    "ledger_violations": _violation("account b"),
    "console_sessions": _session(2),
    "service_samples": _service_sample("2026-01-01T00:01:00Z"),
    "tenant_samples": _tenant_sample(NEXT_SLOT),
    "held_samples": _held_sample(NEXT_SLOT),
}


async def insert(connection: AsyncConnection[Any], table: str, *rows: Row) -> None:
    """Insert rows of the same columns in one statement."""
    columns = list(rows[0])
    one = sql.SQL("({})").format(sql.SQL(", ").join(sql.Placeholder() * len(columns)))
    statement = sql.SQL("INSERT INTO {} ({}) VALUES {}").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join([one] * len(rows)),
    )
    await connection.execute(statement, [row[column] for row in rows for column in columns])


@asynccontextmanager
async def small_ledger(postgres: PostgresServer) -> AsyncIterator[str]:
    """Make a database with the small ledger; gives its URL."""
    async with postgres.database() as url:
        async with await AsyncConnection.connect(url) as connection:
            for table, row in LEDGER:
                await insert(connection, table, row)
            await insert(connection, "ledger_entries", *ENTRIES)
        yield url
