"""What the database itself holds, whoever writes to it."""

import asyncio
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import AsyncConnection, sql
from psycopg.types.json import Jsonb
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from domain.errors import (
    AccountNumberTaken,
    BalanceOutOfRange,
    DatabaseUnavailable,
    DomainError,
    ExternalIdTaken,
    LedgerRuleViolated,
    UserNotFound,
)
from persistence.connection_limits import DatabaseLimits
from persistence.database import Database, create_engine
from persistence.tables.schema import metadata
from persistence.tenancy import EVERY_TENANT
from persistence.violations import translated_violations
from runtime.ports import free_port
from tests.support.check_migrations import difference, walk
from tests.support.ledger_rows import (
    ALICE,
    ALICES_ENTRY,
    APPROVER,
    BATCH,
    BOB,
    DIGEST,
    DONE,
    EMPTY,
    HOLD,
    LEDGER,
    NEW,
    NOBODY,
    NOW,
    ORDER,
    OTHER_TENANT,
    RIGHT_ROWS,
    RULE,
    SETTLEMENT,
    TENANT,
    TOO_MUCH,
    TRANSFER,
    USER,
    Row,
    entry,
    insert,
    number,
)
from tests.support.postgres import PostgresServer

APPEND_ONLY = (
    "ledger_entries",
    "transfer_events",
    "idempotency_keys",
    "transfer_legs",
    "transfer_operations",
    "audit_log",
)


async def refusal(connection: AsyncConnection[Any], statement: str, *values: Any) -> str:
    """Require that a statement is refused, and name the rule that refuses it."""
    with pytest.raises(psycopg.Error) as refused:
        await connection.execute(sql.SQL(statement), values)
    return refused.value.diag.constraint_name or str(refused.value)


async def test_migrations_go_up_and_down_and_up_again_and_match_the_tables(
    postgres: PostgresServer,
) -> None:
    async with postgres.database(migrated=False) as url:
        await asyncio.to_thread(walk, url)


async def test_migrations_make_what_is_declared_to_the_last_check(
    postgres: PostgresServer,
) -> None:
    found = await difference(postgres)
    assert (found.only_migrated, found.only_declared) == (frozenset(), frozenset())


@pytest.mark.parametrize("table", RIGHT_ROWS)
async def test_a_right_row_is_taken(ledger: AsyncConnection[Any], table: str) -> None:
    await insert(ledger, table, RIGHT_ROWS[table])


NOBODY_RECEIVES = {"destination_account_id": NOBODY}
# By the rule's name: the table whose right row is changed, and how.
WRONG_ROWS: dict[str, tuple[str, Row]] = {
    "tenants_pkey": ("tenants", {"id": TENANT}),
    "tenants_name": ("tenants", {"name": "one"}),
    "api_keys_pkey": ("api_keys", {"id": UUID(int=5)}),
    "api_keys_tenant": ("api_keys", {"tenant_id": NOBODY}),
    "api_keys_secret_hash": ("api_keys", {"secret_hash": DIGEST}),
    "api_keys_secret_hash_length": ("api_keys", {"secret_hash": b"short"}),
    "api_keys_previous_secret_hash": ("api_keys", {"previous_secret_hash": b"\x04" * 32}),
    "api_keys_subject": (
        "api_keys",
        {
            "secret_hash": None,
            "previous_secret_hash": None,
            "previous_expires_at": None,
            "issuer": "https://issuer",
            "subject": "ada",
        },
    ),
    "api_keys_identity": ("api_keys", {"issuer": "https://issuer", "subject": "bob"}),
    "api_keys_rotation": ("api_keys", {"previous_expires_at": None}),
    "api_keys_rate": ("api_keys", {"requests_per_second": 0}),
    "console_sessions_pkey": ("console_sessions", {"token_hash": b"\x01" * 32}),
    "console_sessions_tenant": ("console_sessions", {"tenant_id": NOBODY}),
    "console_sessions_api_key": ("console_sessions", {"api_key_id": NOBODY}),
    "console_sessions_viewed_tenant": ("console_sessions", {"viewed_tenant_id": NOBODY}),
    "console_sessions_token_hash_length": ("console_sessions", {"token_hash": b"short"}),
    "audit_log_tenant": ("audit_log", {"tenant_id": NOBODY}),
    "audit_log_actor_known": ("audit_log", {"actor_kind": "nobody"}),
    "audit_log_action_shape": ("audit_log", {"action": "Freeze!"}),
    "audit_log_details_object": ("audit_log", {"details": Jsonb([])}),
    "users_pkey": ("users", {"id": USER}),
    "users_tenant": ("users", {"tenant_id": NOBODY}),
    "users_external_id": ("users", {"external_id": "ada"}),
    "accounts_pkey": ("accounts", {"id": ALICE}),
    "accounts_user": ("accounts", {"tenant_id": OTHER_TENANT}),
    "accounts_tenant": ("accounts", {"tenant_id": NOBODY, "kind": "SYSTEM", "user_id": None}),
    "accounts_account_number": ("accounts", {"account_number": number(1)}),
    "accounts_external_id": ("accounts", {"external_id": "alice"}),
    "accounts_kind_known": ("accounts", {"kind": "GIFT", "user_id": None}),
    "accounts_owner": ("accounts", {"user_id": None}),
    "accounts_currency_code": ("accounts", {"currency": "eur"}),
    "accounts_number_shape": ("accounts", {"account_number": "98"}),
    "accounts_number_check_digits": ("accounts", {"account_number": "1000000000000001"}),
    "accounts_settlement": ("accounts", {"kind": "SYSTEM", "user_id": None}),
    "balances_pkey": ("balances", {"account_id": ALICE}),
    "balances_account": ("balances", {"currency": "USD"}),
    "balances_status_known": ("balances", {"status": "ASLEEP"}),
    "balances_only_system_unlimited": ("balances", {"overdraft_limit_minor": None}),
    "balances_overdraft_limit_range": ("balances", {"overdraft_limit_minor": TOO_MUCH}),
    "balances_held_not_negative": ("balances", {"held_minor": -1}),
    "balances_available": ("balances", {"posted_minor": -1}),
    "balances_closed_empty": ("balances", {"status": "CLOSED", "posted_minor": 1}),
    "balances_sequence_not_negative": ("balances", {"last_sequence": -1}),
    "idempotency_keys_pkey": ("idempotency_keys", {"key": "done"}),
    "idempotency_keys_tenant": ("idempotency_keys", {"tenant_id": NOBODY}),
    "idempotency_keys_fingerprint_length": ("idempotency_keys", {"fingerprint": b""}),
    "idempotency_keys_shape": ("idempotency_keys", {"key": "a b"}),
    "transfers_pkey": ("transfers", {"id": DONE}),
    "transfers_key_claimed": ("transfers", {"idempotency_key": "nobody's"}),
    "transfers_idempotency_key": ("transfers", {"idempotency_key": "done"}),
    "transfers_source": ("transfers", {"source_account_id": NOBODY}),
    "transfers_destination": ("transfers", {"destination_account_id": NOBODY}),
    "transfers_reversal_of": ("transfers", {"type": "REVERSAL", "reversal_of": NOBODY}),
    "transfers_type_known": ("transfers", {"type": "GIFT"}),
    "transfers_reversal_linked": ("transfers", {"type": "REVERSAL"}),
    "transfers_stage_of_state": ("transfers", {"stage": "COMPLETED"}),
    "transfers_failure_explained": ("transfers", {"failure_code": "why", "failure_message": "so"}),
    "transfers_completion_dated": ("transfers", {"completed_at": NOW}),
    "transfers_amount_range": ("transfers", {"amount_minor": 0}),
    "transfers_batch": ("transfers", {"batch_id": NOBODY}),
    "transfer_batches_pkey": ("transfer_batches", {"id": BATCH}),
    "transfer_batches_key_claimed": ("transfer_batches", {"idempotency_key": "nobody's"}),
    "transfer_batches_idempotency_key": ("transfer_batches", {"idempotency_key": "batch"}),
    "transfer_batches_requested_by": ("transfer_batches", {"requested_by": NOBODY}),
    "transfer_batches_stage_of_state": ("transfer_batches", {"stage": "COMPLETED"}),
    "transfer_batches_failure_explained": (
        "transfer_batches",
        {"failure_code": "why", "failure_message": "so"},
    ),
    "transfer_batches_completion_dated": ("transfer_batches", {"completed_at": NOW}),
    "transfer_batches_size": ("transfer_batches", {"total_rows": 0}),
    "transfer_batches_rows_counted": ("transfer_batches", {"failed_rows": 3}),
    "transfer_batch_rows_pkey": ("transfer_batch_rows", {"position": 1}),
    "transfer_batch_rows_batch": ("transfer_batch_rows", {"batch_id": NOBODY}),
    "transfer_batch_rows_position_positive": ("transfer_batch_rows", {"position": 0}),
    "transfer_batch_rows_status_known": ("transfer_batch_rows", {"status": "LOST"}),
    "transfer_batch_rows_transfer_named": ("transfer_batch_rows", {"status": "SUCCEEDED"}),
    "transfer_batch_rows_failure_explained": ("transfer_batch_rows", {"status": "REJECTED"}),
    "transfers_two_accounts": ("transfers", {"destination_account_id": ALICE}),
    "transfers_metadata_object": ("transfers", {"metadata": Jsonb([])}),
    "standing_orders_pkey": ("standing_orders", {"id": ORDER}),
    "standing_orders_key_claimed": ("standing_orders", {"idempotency_key": "nobody's"}),
    "standing_orders_idempotency_key": ("standing_orders", {"idempotency_key": "order"}),
    "standing_orders_source": ("standing_orders", {"source_account_id": NOBODY}),
    "standing_orders_destination": ("standing_orders", {"destination_account_id": NOBODY}),
    "standing_orders_created_by": ("standing_orders", {"created_by": NOBODY}),
    "standing_orders_type_known": ("standing_orders", {"type": "REVERSAL"}),
    "standing_orders_amount_range": ("standing_orders", {"amount_minor": 0}),
    "standing_orders_two_accounts": ("standing_orders", {"destination_account_id": ALICE}),
    "standing_orders_metadata_object": ("standing_orders", {"metadata": Jsonb([])}),
    "standing_orders_one_schedule": ("standing_orders", {"interval_seconds": None}),
    "standing_orders_interval_range": ("standing_orders", {"interval_seconds": 0}),
    "standing_orders_end_after_start": ("standing_orders", {"end_at": "2025-12-31T23:59:59Z"}),
    "standing_orders_missed_runs_known": ("standing_orders", {"missed_runs": "PERHAPS"}),
    "standing_orders_status_known": ("standing_orders", {"status": "ASLEEP"}),
    "standing_orders_ending_dated": ("standing_orders", {"status": "ENDED"}),
    "standing_order_runs_pkey": ("standing_order_runs", {"scheduled_at": NOW}),
    "standing_order_runs_order": ("standing_order_runs", {"tenant_id": OTHER_TENANT}),
    "standing_order_runs_state_known": (
        "standing_order_runs",
        {"state": "LATE", "completed_at": NOW},
    ),
    "standing_order_runs_transfer_of_state": ("standing_order_runs", {"transfer_id": None}),
    "standing_order_runs_failure_explained": (
        "standing_order_runs",
        {"failure_code": "why", "failure_message": "so"},
    ),
    "standing_order_runs_completion_dated": ("standing_order_runs", {"completed_at": NOW}),
    "transfer_events_pkey": ("transfer_events", {"sequence": 1}),
    "transfer_events_step": ("transfer_events", {"step": "accept"}),
    "transfer_events_transfer": ("transfer_events", {"transfer_id": NOBODY}),
    "transfer_events_sequence_positive": ("transfer_events", {"sequence": 0}),
    "transfer_events_stage_known": ("transfer_events", {"stage": "LOST"}),
    "holds_pkey": ("holds", {"id": HOLD}),
    "holds_transfer": ("holds", {"transfer_id": TRANSFER}),
    "holds_of_transfer": ("holds", {"transfer_id": NOBODY}),
    "holds_account": ("holds", {"currency": "USD"}),
    "holds_status_known": ("holds", {"status": "OPEN", "closed_at": NOW}),
    "holds_closing_dated": ("holds", {"status": "RELEASED"}),
    "holds_amount_range": ("holds", {"amount_minor": TOO_MUCH}),
    "ledger_entries_pkey": ("ledger_entries", {"id": ALICES_ENTRY}),
    "ledger_entries_sequence": ("ledger_entries", {"sequence": 1, "balance_after_minor": 100}),
    "ledger_entries_transfer": ("ledger_entries", {"transfer_id": NOBODY}),
    "ledger_entries_account": ("ledger_entries", {"currency": "USD"}),
    "ledger_entries_direction_known": ("ledger_entries", {"direction": "UP"}),
    "ledger_entries_amount_range": ("ledger_entries", {"amount_minor": 0}),
    "ledger_entries_sequence_positive": ("ledger_entries", {"sequence": 0}),
    "transfers_captured_range": ("transfers", {"captured_minor": 41}),
    "transfers_reversed_range": ("transfers", {"reversed_minor": 1}),
    "transfers_approval_whole": ("transfers", {"approvals_required": 1}),
    "transfers_several_legs": ("transfers", {"leg_count": 1}),
    "holds_captured_range": ("holds", {"captured_minor": 41}),
    "transfer_legs_pkey": ("transfer_legs", {"position": 1}),
    "transfer_legs_transfer": ("transfer_legs", {"transfer_id": NOBODY}),
    "transfer_legs_source": ("transfer_legs", {"source_account_id": NOBODY}),
    "transfer_legs_destination": ("transfer_legs", NOBODY_RECEIVES),
    "transfer_legs_position_range": ("transfer_legs", {"position": 101}),
    "transfer_legs_two_accounts": ("transfer_legs", {"destination_account_id": ALICE}),
    "transfer_legs_amount_range": ("transfer_legs", {"amount_minor": 0}),
    "transfer_operations_pkey": ("transfer_operations", {"idempotency_key": "operation"}),
    "transfer_operations_key_claimed": ("transfer_operations", {"idempotency_key": "nobody's"}),
    "transfer_operations_transfer": ("transfer_operations", {"transfer_id": NOBODY}),
    "transfer_operations_known": ("transfer_operations", {"operation": "forget"}),
    "transfer_operations_amount": ("transfer_operations", {"operation": "capture"}),
    "transfer_operations_approver": ("transfer_operations", {"requested_by": APPROVER}),
    "approval_rules_pkey": ("approval_rules", {"id": RULE}),
    "approval_rules_tenant": ("approval_rules", {"tenant_id": NOBODY}),
    "approval_rules_currency_code": ("approval_rules", {"currency": "eur"}),
    "approval_rules_threshold": ("approval_rules", {"threshold_minor": -1}),
    "approval_rules_approvers": ("approval_rules", {"approvers": 3}),
    "approval_rules_deadline": ("approval_rules", {"deadline_seconds": 0}),
    "approval_rules_in_force": ("approval_rules", {"threshold_minor": 1_000}),
    "account_limits_pkey": ("account_limits", {"account_id": ALICE}),
    "account_limits_account": ("account_limits", {"tenant_id": OTHER_TENANT}),
    "account_limits_range": ("account_limits", {"per_day_minor": -1}),
    "account_usage_pkey": ("account_usage", {"day": "2026-01-01"}),
    "account_usage_limits": ("account_usage", {"account_id": BOB}),
    "account_usage_not_negative": ("account_usage", {"used_minor": -1}),
    "ledger_seals_pkey": ("ledger_seals", {"number": 1}),
    "ledger_seals_previous": ("ledger_seals", {"previous_hash": bytes(32)}),
    "ledger_seals_number_positive": ("ledger_seals", {"number": 0}),
    "ledger_seals_counted": ("ledger_seals", {"position": 0}),
    "ledger_seals_hash_length": ("ledger_seals", {"root": b"short"}),
    "ledger_seal_segments_pkey": ("ledger_seal_segments", {"account_id": ALICE}),
    "ledger_seal_segments_of_seal": (
        "ledger_seal_segments",
        {"account_id": ALICE, "first_sequence": 2, "last_sequence": 2},
    ),
    "ledger_seal_segments_records": ("ledger_seal_segments", {"last_sequence": 2}),
    "ledger_seal_segments_digest_length": ("ledger_seal_segments", {"digest": b"short"}),
    "ledger_proofs_pkey": ("ledger_proofs", {"name": "accounts"}),
    "service_samples_pkey": ("service_samples", {"slot_at": NOW}),
    "service_samples_stuck_known": ("service_samples", {"is_stuck_whole": None}),
    "service_samples_not_negative": ("service_samples", {"violations": -1}),
    "tenant_samples_pkey": ("tenant_samples", {"slot_at": NOW}),
    "tenant_samples_tenant": ("tenant_samples", {"tenant_id": NOBODY}),
    "tenant_samples_slot": ("tenant_samples", {"slot_at": "2026-01-01T00:02:00Z"}),
    "tenant_samples_not_negative": ("tenant_samples", {"in_flight": -1}),
    "held_samples_pkey": ("held_samples", {"slot_at": NOW}),
    "held_samples_tenant": ("held_samples", {"tenant_id": NOBODY}),
    "held_samples_slot": ("held_samples", {"slot_at": "2026-01-01T00:02:00Z"}),
    "held_samples_not_negative": ("held_samples", {"held_minor": -1}),
    "ledger_violations_pkey": ("ledger_violations", {"subject": "account a"}),
}
FURTHER_WRONG_ROWS: list[tuple[str, str, Row]] = [
    ("api_keys_identity", "api_keys", {"secret_hash": None}),
    ("api_keys_rate", "api_keys", {"requests_burst": None}),
    ("transfers_destination", "transfers", {"currency": "USD"}),
    ("transfers_captured_range", "transfers", {"captured_minor": -1}),
    ("transfers_approval_whole", "transfers", {"approval_deadline_at": NOW}),
    ("transfer_operations_amount", "transfer_operations", {"amount_minor": 1}),
    ("transfers_amount_range", "transfers", {"amount_minor": TOO_MUCH}),
    ("transfers_stage_of_state", "transfers", {"state": "SUCCESS", "completed_at": NOW}),
    ("transfers_failure_explained", "transfers", {"failure_message": "so"}),
    ("balances_available", "balances", {"held_minor": 1}),
    (
        "balances_overdraft_limit_range",
        "balances",
        {"overdraft_limit_minor": -1, "posted_minor": 9},
    ),
    ("balances_account", "balances", {"kind": "SYSTEM", "overdraft_limit_minor": None}),
    ("accounts_number_shape", "accounts", {"account_number": f"{98:016}"}),
    ("idempotency_keys_shape", "idempotency_keys", {"key": "x" * 201}),
    ("idempotency_keys_shape", "idempotency_keys", {"key": ""}),
    ("standing_orders_one_schedule", "standing_orders", {"cron": "0 9 * * *", "time_zone": "UTC"}),
    (
        "standing_orders_one_schedule",
        "standing_orders",
        {"cron": "0 9 * * *", "interval_seconds": None},
    ),
    ("standing_orders_source", "standing_orders", {"currency": "USD"}),
    ("standing_orders_ending_dated", "standing_orders", {"ended_at": NOW}),
    (
        "standing_order_runs_transfer_of_state",
        "standing_order_runs",
        {
            "state": "SKIPPED",
            "failure_code": "why",
            "failure_message": "so",
            "completed_at": NOW,
        },
    ),
    (
        "transfer_batches_rows_counted",
        "transfer_batches",
        {"state": "SUCCESS", "stage": "COMPLETED", "completed_at": NOW, "succeeded_rows": 1},
    ),
    ("transfer_batches_rows_counted", "transfer_batches", {"position": 3}),
    ("holds_account", "holds", {"tenant_id": OTHER_TENANT}),
    ("ledger_entries_account", "ledger_entries", {"tenant_id": OTHER_TENANT}),
]
# Targets of composite foreign keys: their primary key is violated first.
# Held by a trigger, once a statement.
TRIGGERED = {
    "ledger_entries_transfer",
    "ledger_entries_account",
    "transfers_source",
    "transfers_destination",
    "transfers_key_claimed",
    "transfers_batch",
    "idempotency_keys_tenant",
    "transfer_events_transfer",
    "transfer_batch_rows_batch",
}
IMPLIED = {"users_of_tenant", "accounts_of_tenant", "accounts_currency", "accounts_kind"} | {
    "standing_orders_of_tenant",
    # The database alone gives a record its number.
    "audit_log_pkey",
    # Judged at commit: the seal is written behind its segments.
    "ledger_seal_segments_seal",
}


@pytest.mark.parametrize(
    ("rule", "table", "changes"),
    [*((rule, *wrong) for rule, wrong in WRONG_ROWS.items()), *FURTHER_WRONG_ROWS],
)
async def test_a_row_that_breaks_a_rule_is_refused_by_its_name(
    ledger: AsyncConnection[Any], rule: str, table: str, changes: Row
) -> None:
    with pytest.raises(psycopg.Error) as refused:
        await insert(ledger, table, {**RIGHT_ROWS[table], **changes})
    assert refused.value.diag.constraint_name == rule


def test_every_rule_that_is_declared_has_its_wrong_row() -> None:
    tables = metadata.sorted_tables
    rules = {str(rule.name) for table in tables for rule in table.constraints if rule.name}
    unique = {str(index.name) for table in tables for index in table.indexes if index.unique}
    assert (rules | unique) - IMPLIED == WRONG_ROWS.keys() - TRIGGERED


CHANGES_OF_HISTORY = [
    (statement.format(table), f"{table}_append_only")
    for table in APPEND_ONLY
    for statement in (
        "UPDATE {} SET tenant_id = tenant_id",
        "DELETE FROM {}",
        "TRUNCATE {} CASCADE",
    )
] + [
    ("UPDATE ledger_seals SET hash = hash", "ledger_seals_append_only"),
    ("DELETE FROM ledger_seals", "ledger_seals_append_only"),
    ("TRUNCATE ledger_seals CASCADE", "ledger_seals_append_only"),
    ("UPDATE ledger_seal_segments SET digest = digest", "ledger_seal_segments_append_only"),
    ("DELETE FROM ledger_seal_segments", "ledger_seal_segments_append_only"),
    ("TRUNCATE ledger_seal_segments", "ledger_seal_segments_append_only"),
    ("UPDATE transfers SET description = 'x' WHERE state = 'SUCCESS'", "transfers_final"),
    ("DELETE FROM transfers WHERE state = 'PROCESSING'", "transfers_kept"),
    ("DELETE FROM transfers", "transfers_kept"),
    ("TRUNCATE transfers CASCADE", "transfers_not_truncated"),
    ("UPDATE standing_orders SET amount_minor = amount_minor + 1", "standing_orders_final"),
    ("UPDATE standing_orders SET interval_seconds = 1", "standing_orders_final"),
    ("DELETE FROM standing_orders", "standing_orders_kept"),
    ("TRUNCATE standing_orders CASCADE", "standing_orders_kept"),
    (
        "UPDATE standing_order_runs SET scheduled_at = scheduled_at + interval '1 s'",
        "standing_order_runs_final",
    ),
    ("DELETE FROM standing_order_runs", "standing_order_runs_kept"),
    ("TRUNCATE standing_order_runs CASCADE", "standing_order_runs_kept"),
    ("DELETE FROM accounts", "accounts_kept"),
    ("UPDATE accounts SET currency = 'USD'", "accounts_kept"),
    ("TRUNCATE accounts CASCADE", "accounts_not_truncated"),
    ("DELETE FROM transfer_batches", "transfer_batches_kept"),
    ("UPDATE transfer_batches SET id = uuidv7()", "transfer_batches_kept"),
    ("TRUNCATE transfer_batches CASCADE", "transfer_batches_not_truncated"),
    ("DELETE FROM tenants", "tenants_kept"),
    ("UPDATE tenants SET id = uuidv7()", "tenants_kept"),
    ("TRUNCATE tenants CASCADE", "tenants_not_truncated"),
]


@pytest.mark.parametrize(("statement", "rule"), CHANGES_OF_HISTORY)
async def test_history_is_only_ever_added_to(
    ledger: AsyncConnection[Any], statement: str, rule: str
) -> None:
    assert await refusal(ledger, statement) == rule


@pytest.mark.parametrize(("statement", "rule"), CHANGES_OF_HISTORY)
async def test_not_even_a_replica_role_changes_history(
    postgres: PostgresServer, ledger_url: str, statement: str, rule: str
) -> None:
    async with await AsyncConnection.connect(postgres.as_admin(ledger_url)) as connection:
        try:
            await connection.execute("SET session_replication_role = replica")
        except psycopg.errors.InsufficientPrivilege:
            pytest.skip("only a superuser can take the role")
        assert await refusal(connection, statement) == rule
        await connection.rollback()


@pytest.mark.parametrize(
    "change",
    [
        "description = 'x'",
        "state = 'FAILED', stage = 'FAILED', failure_code = 'x', failure_message = 'x'",
        "state = 'PROCESSING', stage = 'RESERVED', completed_at = NULL",
        "updated_at = now()",
        "reversal_of = id",
        "captured_minor = 1",
        "expires_at = now()",
        "approvals_required = 1, approval_deadline_at = now()",
    ],
)
async def test_a_final_transfer_cannot_change(ledger: AsyncConnection[Any], change: str) -> None:
    statement = f"UPDATE transfers SET {change} WHERE id = %s"  # noqa: S608 - of this file
    assert await refusal(ledger, statement, DONE) == "transfers_final"


@pytest.mark.parametrize(
    "change",
    [
        "amount_minor = 41",
        "currency = 'USD'",
        f"source_account_id = '{EMPTY}'",
        f"destination_account_id = '{EMPTY}'",
        "idempotency_key = 'free'",
        "fingerprint = sha256('x')",
        "type = 'DEPOSIT'",
        "execute_at = now()",
        "requested_by = id",
        "leg_count = 2",
        "created_at = created_at - interval '1 hour'",
        f"id = '{NEW}'",
        f"tenant_id = '{OTHER_TENANT}'",
    ],
)
async def test_what_a_transfer_is_about_never_changes(
    ledger: AsyncConnection[Any], change: str
) -> None:
    statement = f"UPDATE transfers SET {change} WHERE id = %s"  # noqa: S608 - of this file
    assert await refusal(ledger, statement, TRANSFER) == "transfers_final"


async def test_what_is_reversed_of_a_final_transfer_grows_up_to_what_has_moved(
    ledger: AsyncConnection[Any],
) -> None:
    statement = "UPDATE transfers SET reversed_minor = %s WHERE id = %s"
    await ledger.execute(statement, (100, DONE))
    assert await refusal(ledger, statement, 101, DONE) == "transfers_reversed_range"


async def test_a_hold_is_never_captured_beyond_its_amount(ledger: AsyncConnection[Any]) -> None:
    statement = "UPDATE holds SET captured_minor = captured_minor + %s WHERE id = %s"
    await ledger.execute(statement, (40, HOLD))
    assert await refusal(ledger, statement, 1, HOLD) == "holds_captured_range"


@pytest.mark.parametrize(
    ("table", "final"),
    [
        ("standing_orders", "status = 'CANCELLED', ended_at = now()"),
        ("standing_order_runs", "state = 'SUCCESS', completed_at = now()"),
    ],
)
async def test_an_order_that_is_over_and_a_run_with_its_outcome_cannot_change(
    ledger: AsyncConnection[Any], table: str, final: str
) -> None:
    change = f"UPDATE {table} SET {final}"  # noqa: S608 - of this file
    await ledger.execute(sql.SQL(change))
    assert await refusal(ledger, change) == f"{table}_final"


BOBS = entry(NEW, BOB, 1, transfer_id=TRANSFER, amount_minor=40, balance_after_minor=40)
ALICES = entry(
    UUID(int=98),
    ALICE,
    2,
    transfer_id=TRANSFER,
    direction="DEBIT",
    amount_minor=40,
    balance_after_minor=60,
)


@pytest.mark.parametrize(
    "entries",
    [
        [BOBS],
        [ALICES],
        [BOBS, {**ALICES, "amount_minor": 39, "balance_after_minor": 61}],
        [BOBS, {**ALICES, "direction": "CREDIT", "balance_after_minor": 140}],
    ],
)
async def test_a_posting_whose_sides_differ_is_refused_at_commit(
    ledger_url: str, entries: list[Row]
) -> None:
    async with await AsyncConnection.connect(ledger_url) as connection:
        await insert(connection, "ledger_entries", *entries)
        with pytest.raises(psycopg.errors.CheckViolation) as refused:
            await connection.commit()
    assert refused.value.diag.constraint_name == "ledger_entries_balanced"


async def test_a_posting_may_take_several_statements_and_is_judged_as_a_whole(
    ledger: AsyncConnection[Any],
) -> None:
    await insert(ledger, "ledger_entries", BOBS)
    await insert(ledger, "ledger_entries", ALICES)
    await ledger.execute("SET CONSTRAINTS ALL IMMEDIATE")


@pytest.mark.parametrize(
    "wrong",
    [
        {**ALICES, "sequence": 3},
        {**ALICES, "sequence": 10**18},
        {**ALICES, "balance_after_minor": 61},
        {**ALICES, "balance_after_minor": 140},
        {**BOBS, "balance_after_minor": 41},
        {**BOBS, "sequence": 2},
        {**BOBS, "account_id": SETTLEMENT, "sequence": 2},
    ],
)
async def test_an_entry_follows_from_the_one_before_it(
    ledger: AsyncConnection[Any], wrong: Row
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation) as refused:
        await insert(ledger, "ledger_entries", wrong)
    assert refused.value.diag.constraint_name == "ledger_entries_follow"


async def test_several_entries_of_an_account_in_one_statement_follow_each_other(
    ledger: AsyncConnection[Any],
) -> None:
    second = {**BOBS, "id": UUID(int=97), "sequence": 2, "balance_after_minor": 80}
    with pytest.raises(psycopg.errors.CheckViolation):
        async with ledger.transaction():
            await insert(ledger, "ledger_entries", BOBS, {**second, "balance_after_minor": 79})
    await insert(ledger, "ledger_entries", BOBS, second)


MEANINGS: list[tuple[str, Row, type[DomainError]]] = [
    ("accounts_account_number", {}, AccountNumberTaken),
    ("accounts_external_id", {}, ExternalIdTaken),
    ("users_external_id", {}, ExternalIdTaken),
    ("accounts_user", {}, UserNotFound),
    ("balances_available", {}, LedgerRuleViolated),
    ("holds_transfer", {}, LedgerRuleViolated),
    ("ledger_entries_follow", {"balance_after_minor": 1}, LedgerRuleViolated),
    (
        "ledger_entries_within",
        {"direction": "DEBIT", "balance_after_minor": 0},
        LedgerRuleViolated,
    ),
    ("transfers_pkey", {}, LedgerRuleViolated),
]


@pytest.mark.parametrize(("rule", "changes", "meaning"), MEANINGS)
async def test_a_refusal_comes_out_as_an_error_of_the_domain(
    ledger_url: str, rule: str, changes: Row, meaning: type[DomainError]
) -> None:
    table, wrong = WRONG_ROWS.get(rule, ("ledger_entries", changes))
    row = {**RIGHT_ROWS[table], **wrong}
    engine = create_engine(ledger_url, DatabaseLimits(pool_size=1))
    columns = metadata.tables[table]
    values = {name: value.obj if isinstance(value, Jsonb) else value for name, value in row.items()}
    with pytest.raises(DomainError) as refused, translated_violations():
        async with engine.begin() as connection:
            await connection.execute(columns.insert().values(values))
    await engine.dispose()
    assert type(refused.value) is meaning
    assert isinstance(refused.value.__cause__, DBAPIError)
    if isinstance(refused.value, LedgerRuleViolated):
        assert refused.value.rule == rule


@pytest.mark.parametrize(
    ("statement", "meaning"),
    [
        ("UPDATE balances SET posted_minor = 10 ^ 38", BalanceOutOfRange),
        ("SELECT pg_sleep(1)", DatabaseUnavailable),
        ("SELECT pg_terminate_backend(pg_backend_pid())", DatabaseUnavailable),
        ("SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(1)", DatabaseUnavailable),
    ],
)
async def test_what_passes_by_itself_and_what_does_not_fit_have_their_errors(
    ledger_url: str, statement: str, meaning: type[DomainError]
) -> None:
    limits = DatabaseLimits(pool_size=1, statement_timeout_seconds=0.2)
    engine = create_engine(ledger_url, limits)
    with pytest.raises(meaning), translated_violations():
        async with engine.begin() as connection:
            await connection.execute(text(statement))
    await engine.dispose()


async def test_a_lock_that_another_keeps_makes_the_database_unavailable(ledger_url: str) -> None:
    engine = create_engine(ledger_url, DatabaseLimits(pool_size=1, lock_timeout_seconds=0.1))
    lock = f"SELECT FROM balances WHERE account_id = '{ALICE}' FOR UPDATE"
    async with await AsyncConnection.connect(ledger_url) as other:
        await other.execute(sql.SQL(lock))
        with pytest.raises(DatabaseUnavailable), translated_violations():
            async with engine.begin() as connection:
                await connection.execute(text(lock))
        await other.rollback()
    await engine.dispose()


async def test_a_server_that_is_not_there_makes_the_database_unavailable() -> None:
    database = Database.at(f"postgresql://nobody:x@127.0.0.1:{free_port()}/nothing")
    with pytest.raises(DatabaseUnavailable):
        async with database.reading(EVERY_TENANT) as unit_of_work:
            await unit_of_work.api_keys.page(None)
    await database.close()


def test_the_small_ledger_has_a_row_of_every_table() -> None:
    tables = {table for table, _row in LEDGER} | {"ledger_entries"}
    assert tables | {"unbalanced_postings"} == set(metadata.tables)
    assert RIGHT_ROWS.keys() == set(metadata.tables)
