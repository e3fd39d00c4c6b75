"""The schema as SQLAlchemy tables.

Triggers stand in the migrations alone; everything else is declared here too, so that
``alembic check`` can hold the two together. A constraint's name is part of the contract:
``persistence.violations`` turns it into a domain error.
"""

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.engine import Dialect

from domain.audit import ActorKind
from domain.ledger_seals import RECORD_BYTES
from domain.limits import (
    AMOUNT_MAXIMUM_MINOR,
    APPROVAL_SECONDS_MAXIMUM,
    APPROVERS_MAXIMUM,
    BALANCE_DIGITS,
    BATCH_ROWS_MAXIMUM,
    LEGS_MAXIMUM,
    REQUESTS_PER_SECOND_MAXIMUM,
    STANDING_ORDER_INTERVAL_SECONDS_MAXIMUM,
    STANDING_ORDER_INTERVAL_SECONDS_MINIMUM,
)
from domain.states import REPEATED_STEPS

metadata: Final = MetaData()


class MinorUnits(TypeDecorator[int]):
    """``NUMERIC(38, 0)`` in SQL, ``int`` in Python, exactly."""

    impl = Numeric(BALANCE_DIGITS, 0)
    cache_ok = True

    def process_result_value(self, value: Any | None, dialect: Dialect) -> int | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Turn the driver's ``Decimal`` into an ``int``."""
        return None if value is None else int(value)


def _id() -> Column[Any]:
    return Column("id", Uuid, nullable=False)


def _tenant_id() -> Column[Any]:
    return Column("tenant_id", Uuid, nullable=False)


def _created_at() -> Column[Any]:
    return Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now())


def _time(name: str, *, nullable: bool) -> Column[Any]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


def _currency() -> Column[Any]:
    return Column("currency", Text, nullable=False)


def _json_object() -> Column[Any]:
    return Column("metadata", JSONB, nullable=False, server_default=text("'{}'::jsonb"))


def _one_of(column: str, *values: str) -> str:
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"


tenants: Final = Table(
    "tenants",
    metadata,
    _id(),
    Column("name", Text, nullable=False),
    _created_at(),
    PrimaryKeyConstraint("id", name="tenants_pkey"),
    UniqueConstraint("name", name="tenants_name"),
)

api_keys: Final = Table(
    "api_keys",
    metadata,
    _id(),
    _tenant_id(),
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False, comment="first characters, to recognise the key by"),
    # Null for a subject of an issuer: a row by which it is recognised, and can be revoked.
    Column("secret_hash", LargeBinary, nullable=True, comment="SHA-256 of the whole key"),
    Column("scopes", ARRAY(Text), nullable=False),
    _created_at(),
    _time("revoked_at", nullable=True),
    _time("expires_at", nullable=True),
    Column(
        "previous_secret_hash",
        LargeBinary,
        nullable=True,
        comment="of the secret before the last rotation",
    ),
    _time("previous_expires_at", nullable=True),
    _time("rotated_at", nullable=True),
    Column("requests_per_second", Integer, nullable=True, comment="null: the default"),
    Column("requests_burst", Integer, nullable=True, comment="null: the default"),
    Column("issuer", Text, nullable=True, comment="of a subject: who vouches for it"),
    Column("subject", Text, nullable=True, comment="as its issuer names it"),
    PrimaryKeyConstraint("id", name="api_keys_pkey"),
    ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="api_keys_tenant"),
    UniqueConstraint("secret_hash", name="api_keys_secret_hash"),
    UniqueConstraint("previous_secret_hash", name="api_keys_previous_secret_hash"),
    UniqueConstraint("tenant_id", "issuer", "subject", name="api_keys_subject"),
    CheckConstraint("octet_length(secret_hash) = 32", name="api_keys_secret_hash_length"),
    CheckConstraint(
        "(secret_hash IS NULL) = (subject IS NOT NULL) AND (issuer IS NULL) = (subject IS NULL)",
        name="api_keys_identity",
    ),
    CheckConstraint(
        "(previous_secret_hash IS NULL) = (previous_expires_at IS NULL)"
        " AND (previous_secret_hash IS NULL OR secret_hash IS NOT NULL)"
        " AND octet_length(previous_secret_hash) = 32",
        name="api_keys_rotation",
    ),
    CheckConstraint(
        "(requests_per_second IS NULL) = (requests_burst IS NULL)"
        f" AND requests_per_second BETWEEN 1 AND {REQUESTS_PER_SECOND_MAXIMUM}"
        f" AND requests_burst BETWEEN 1 AND {REQUESTS_PER_SECOND_MAXIMUM}",
        name="api_keys_rate",
    ),
    Index("api_keys_of_tenant", "tenant_id", "id"),
)

users: Final = Table(
    "users",
    metadata,
    _id(),
    _tenant_id(),
    Column("external_id", Text, nullable=True),
    Column("name", Text, nullable=False),
    _json_object(),
    _created_at(),
    PrimaryKeyConstraint("id", name="users_pkey"),
    ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="users_tenant"),
    UniqueConstraint("tenant_id", "external_id", name="users_external_id"),
    UniqueConstraint("tenant_id", "id", name="users_of_tenant"),
)

accounts: Final = Table(
    "accounts",
    metadata,
    _id(),
    _tenant_id(),
    Column("account_number", Text, nullable=False),
    Column("user_id", Uuid, nullable=True),
    Column("external_id", Text, nullable=True),
    Column("kind", Text, nullable=False),
    _currency(),
    _json_object(),
    _created_at(),
    PrimaryKeyConstraint("id", name="accounts_pkey"),
    ForeignKeyConstraint(
        ["tenant_id", "user_id"], ["users.tenant_id", "users.id"], name="accounts_user"
    ),
    ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="accounts_tenant"),
    UniqueConstraint("account_number", name="accounts_account_number"),
    UniqueConstraint("tenant_id", "external_id", name="accounts_external_id"),
    UniqueConstraint("tenant_id", "id", name="accounts_of_tenant"),
    # Targets of composite foreign keys: what refers to an account shares its tenant and currency.
    UniqueConstraint("id", "tenant_id", "currency", name="accounts_currency"),
    UniqueConstraint("id", "tenant_id", "currency", "kind", name="accounts_kind"),
    CheckConstraint(_one_of("kind", "CUSTOMER", "SYSTEM"), name="accounts_kind_known"),
    CheckConstraint("(kind = 'CUSTOMER') = (user_id IS NOT NULL)", name="accounts_owner"),
    CheckConstraint("currency ~ '^[A-Z]{3}$'", name="accounts_currency_code"),
    CheckConstraint("account_number ~ '^[1-9][0-9]{15}$'", name="accounts_number_shape"),
    CheckConstraint("mod(account_number::bigint, 97) = 1", name="accounts_number_check_digits"),
    Index(
        "accounts_settlement",
        "tenant_id",
        "currency",
        unique=True,
        postgresql_where=text("kind = 'SYSTEM'"),
    ),
    Index("accounts_of_user", "tenant_id", "user_id", "id"),
)

balances: Final = Table(
    "balances",
    metadata,
    Column("account_id", Uuid, nullable=False),
    _tenant_id(),
    _currency(),
    Column("kind", Text, nullable=False),
    Column("status", Text, nullable=False, server_default=text("'ACTIVE'")),
    Column("posted_minor", MinorUnits, nullable=False, server_default=text("0")),
    Column("held_minor", MinorUnits, nullable=False, server_default=text("0")),
    Column("overdraft_limit_minor", MinorUnits, nullable=True, comment="null: without limit"),
    Column("last_sequence", BigInteger, nullable=False, server_default=text("0")),
    Column("has_limits", Boolean, nullable=False, server_default=text("false")),
    PrimaryKeyConstraint("account_id", name="balances_pkey"),
    ForeignKeyConstraint(
        ["account_id", "tenant_id", "currency", "kind"],
        ["accounts.id", "accounts.tenant_id", "accounts.currency", "accounts.kind"],
        name="balances_account",
    ),
    CheckConstraint(_one_of("status", "ACTIVE", "FROZEN", "CLOSED"), name="balances_status_known"),
    CheckConstraint(
        "(kind = 'SYSTEM') = (overdraft_limit_minor IS NULL)", name="balances_only_system_unlimited"
    ),
    CheckConstraint(
        f"overdraft_limit_minor BETWEEN 0 AND {AMOUNT_MAXIMUM_MINOR}",
        name="balances_overdraft_limit_range",
    ),
    CheckConstraint("held_minor >= 0", name="balances_held_not_negative"),
    CheckConstraint(
        "posted_minor - held_minor + overdraft_limit_minor >= 0", name="balances_available"
    ),
    CheckConstraint(
        "status <> 'CLOSED' OR (posted_minor = 0 AND held_minor = 0)", name="balances_closed_empty"
    ),
    CheckConstraint("last_sequence >= 0", name="balances_sequence_not_negative"),
    # Room in each page for the row's next version, so that an update touches no index.
    postgresql_with={"fillfactor": "50"},
)

idempotency_keys: Final = Table(
    "idempotency_keys",
    metadata,
    _tenant_id(),
    Column("key", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    _created_at(),
    PrimaryKeyConstraint("tenant_id", "key", name="idempotency_keys_pkey"),
    # That the tenant is there is held by a trigger once a statement, as below for events and rows
    # of batches (``..._known``).
    CheckConstraint("octet_length(fingerprint) = 32", name="idempotency_keys_fingerprint_length"),
    # Two conditions and no counted repetition, which takes twenty times as long to match.
    CheckConstraint(
        "octet_length(key) BETWEEN 1 AND 200 AND key ~ '^[!-~]+$'", name="idempotency_keys_shape"
    ),
)

transfers: Final = Table(
    "transfers",
    metadata,
    _id(),
    _tenant_id(),
    Column("idempotency_key", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("type", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("source_account_id", Uuid, nullable=False),
    Column("destination_account_id", Uuid, nullable=False),
    Column("amount_minor", MinorUnits, nullable=False),
    _currency(),
    Column("description", Text, nullable=True),
    _json_object(),
    Column("failure_code", Text, nullable=True),
    Column("failure_message", Text, nullable=True),
    Column("reversal_of", Uuid, nullable=True),
    _time("effective_at", nullable=False),
    _created_at(),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    _time("completed_at", nullable=True),
    Column(
        "captured_minor", MinorUnits, nullable=True, comment="null: captures itself, as a whole"
    ),
    Column("reversed_minor", MinorUnits, nullable=False, server_default=text("0")),
    _time("expires_at", nullable=True),
    _time("execute_at", nullable=True),
    _time("approval_deadline_at", nullable=True),
    Column("approvals_required", SmallInteger, nullable=True),
    Column("leg_count", SmallInteger, nullable=True, comment="null: the one of this row"),
    # No foreign key: each transfer would lock the row of its key.
    Column("requested_by", Uuid, nullable=True, comment="API key"),
    Column("batch_id", Uuid, nullable=True),
    PrimaryKeyConstraint("id", name="transfers_pkey"),
    # That key, accounts and batch are there is held by a trigger once a statement
    # (``transfers_known``).
    UniqueConstraint("tenant_id", "idempotency_key", name="transfers_idempotency_key"),
    ForeignKeyConstraint(["reversal_of"], ["transfers.id"], name="transfers_reversal_of"),
    CheckConstraint(
        _one_of("type", "INTERNAL", "DEPOSIT", "WITHDRAWAL", "REVERSAL"),
        name="transfers_type_known",
    ),
    CheckConstraint(
        "(type = 'REVERSAL') = (reversal_of IS NOT NULL)", name="transfers_reversal_linked"
    ),
    CheckConstraint(
        "(state = 'PROCESSING' AND stage IN"
        " ('ACCEPTED', 'SCHEDULED', 'AWAITING_APPROVAL', 'RESERVED', 'POSTED'))"
        " OR (state = 'SUCCESS' AND stage = 'COMPLETED')"
        " OR (state = 'FAILED' AND stage = 'FAILED')",
        name="transfers_stage_of_state",
    ),
    CheckConstraint(
        "(state = 'FAILED') = (failure_code IS NOT NULL)"
        " AND (failure_code IS NULL) = (failure_message IS NULL)",
        name="transfers_failure_explained",
    ),
    CheckConstraint(
        "(state = 'PROCESSING') = (completed_at IS NULL)", name="transfers_completion_dated"
    ),
    CheckConstraint(
        f"amount_minor BETWEEN 1 AND {AMOUNT_MAXIMUM_MINOR}", name="transfers_amount_range"
    ),
    CheckConstraint("source_account_id <> destination_account_id", name="transfers_two_accounts"),
    CheckConstraint("captured_minor BETWEEN 0 AND amount_minor", name="transfers_captured_range"),
    CheckConstraint(
        "reversed_minor BETWEEN 0 AND coalesce(captured_minor, amount_minor)"
        " AND (reversed_minor = 0 OR state = 'SUCCESS')",
        name="transfers_reversed_range",
    ),
    CheckConstraint(
        "(approvals_required IS NULL) = (approval_deadline_at IS NULL)"
        f" AND approvals_required BETWEEN 1 AND {APPROVERS_MAXIMUM}",
        name="transfers_approval_whole",
    ),
    CheckConstraint("leg_count >= 2", name="transfers_several_legs"),
    CheckConstraint("jsonb_typeof(metadata) = 'object'", name="transfers_metadata_object"),
    Index("transfers_of_tenant", "tenant_id", "id"),
    Index("transfers_by_source", "source_account_id", "id"),
    Index("transfers_by_destination", "destination_account_id", "id"),
    Index(
        "transfers_processing",
        "id",
        postgresql_where=text("state = 'PROCESSING'"),
    ),
    Index(
        "transfers_reversals",
        "reversal_of",
        postgresql_where=text("reversal_of IS NOT NULL"),
    ),
    # Partial: transfers without metadata cost it nothing.
    Index(
        "transfers_metadata",
        "metadata",
        postgresql_using="gin",
        postgresql_ops={"metadata": "jsonb_path_ops"},
        postgresql_where=text("metadata <> '{}'::jsonb"),
    ),
    postgresql_with={"fillfactor": "80"},
)

standing_orders: Final = Table(
    "standing_orders",
    metadata,
    _id(),
    _tenant_id(),
    Column("idempotency_key", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("type", Text, nullable=False),
    Column("source_account_id", Uuid, nullable=False),
    Column("destination_account_id", Uuid, nullable=False),
    Column("amount_minor", MinorUnits, nullable=False),
    _currency(),
    Column("description", Text, nullable=True),
    _json_object(),
    Column("interval_seconds", Integer, nullable=True),
    Column("cron", Text, nullable=True),
    Column("time_zone", Text, nullable=True),
    _time("start_at", nullable=False),
    _time("end_at", nullable=True),
    Column("missed_runs", Text, nullable=False),
    Column("status", Text, nullable=False, server_default=text("'ACTIVE'")),
    Column("status_reason", Text, nullable=True),
    Column("created_by", Uuid, nullable=False, comment="the API key that it was made with"),
    _created_at(),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    _time("paused_at", nullable=True),
    _time("resumed_at", nullable=True),
    _time("ended_at", nullable=True),
    PrimaryKeyConstraint("id", name="standing_orders_pkey"),
    ForeignKeyConstraint(
        ["tenant_id", "idempotency_key"],
        ["idempotency_keys.tenant_id", "idempotency_keys.key"],
        name="standing_orders_key_claimed",
    ),
    UniqueConstraint("tenant_id", "idempotency_key", name="standing_orders_idempotency_key"),
    UniqueConstraint("tenant_id", "id", name="standing_orders_of_tenant"),
    ForeignKeyConstraint(
        ["source_account_id", "tenant_id", "currency"],
        ["accounts.id", "accounts.tenant_id", "accounts.currency"],
        name="standing_orders_source",
    ),
    ForeignKeyConstraint(
        ["destination_account_id", "tenant_id", "currency"],
        ["accounts.id", "accounts.tenant_id", "accounts.currency"],
        name="standing_orders_destination",
    ),
    ForeignKeyConstraint(["created_by"], ["api_keys.id"], name="standing_orders_created_by"),
    CheckConstraint(
        _one_of("type", "INTERNAL", "DEPOSIT", "WITHDRAWAL"), name="standing_orders_type_known"
    ),
    CheckConstraint(
        f"amount_minor BETWEEN 1 AND {AMOUNT_MAXIMUM_MINOR}", name="standing_orders_amount_range"
    ),
    CheckConstraint(
        "source_account_id <> destination_account_id", name="standing_orders_two_accounts"
    ),
    CheckConstraint("jsonb_typeof(metadata) = 'object'", name="standing_orders_metadata_object"),
    CheckConstraint(
        "(interval_seconds IS NULL) <> (cron IS NULL) AND (cron IS NULL) = (time_zone IS NULL)",
        name="standing_orders_one_schedule",
    ),
    CheckConstraint(
        f"interval_seconds BETWEEN {STANDING_ORDER_INTERVAL_SECONDS_MINIMUM}"
        f" AND {STANDING_ORDER_INTERVAL_SECONDS_MAXIMUM}",
        name="standing_orders_interval_range",
    ),
    CheckConstraint("end_at >= start_at", name="standing_orders_end_after_start"),
    CheckConstraint(
        _one_of("missed_runs", "SKIP", "RUN_LATEST", "RUN_ALL"),
        name="standing_orders_missed_runs_known",
    ),
    CheckConstraint(
        _one_of("status", "ACTIVE", "PAUSED", "ENDED", "CANCELLED"),
        name="standing_orders_status_known",
    ),
    CheckConstraint(
        "(status IN ('ENDED', 'CANCELLED')) = (ended_at IS NOT NULL)",
        name="standing_orders_ending_dated",
    ),
    Index(
        "standing_orders_open",
        "id",
        postgresql_where=text("status IN ('ACTIVE', 'PAUSED')"),
    ),
)

standing_order_runs: Final = Table(
    "standing_order_runs",
    metadata,
    Column("order_id", Uuid, nullable=False),
    _time("scheduled_at", nullable=False),
    _tenant_id(),
    Column("state", Text, nullable=False),
    Column("transfer_id", Uuid, nullable=True, comment="given before the transfer is recorded"),
    Column("failure_code", Text, nullable=True),
    Column("failure_message", Text, nullable=True),
    _created_at(),
    _time("completed_at", nullable=True),
    PrimaryKeyConstraint("order_id", "scheduled_at", name="standing_order_runs_pkey"),
    ForeignKeyConstraint(
        ["tenant_id", "order_id"],
        ["standing_orders.tenant_id", "standing_orders.id"],
        name="standing_order_runs_order",
    ),
    CheckConstraint(
        _one_of("state", "PROCESSING", "SUCCESS", "FAILED", "SKIPPED"),
        name="standing_order_runs_state_known",
    ),
    CheckConstraint(
        "CASE state WHEN 'SKIPPED' THEN transfer_id IS NULL WHEN 'FAILED' THEN true"
        " ELSE transfer_id IS NOT NULL END",
        name="standing_order_runs_transfer_of_state",
    ),
    CheckConstraint(
        "(state IN ('FAILED', 'SKIPPED')) = (failure_code IS NOT NULL)"
        " AND (failure_code IS NULL) = (failure_message IS NULL)",
        name="standing_order_runs_failure_explained",
    ),
    CheckConstraint(
        "(state = 'PROCESSING') = (completed_at IS NULL)",
        name="standing_order_runs_completion_dated",
    ),
    Index(
        "standing_order_runs_processing",
        "order_id",
        "scheduled_at",
        postgresql_where=text("state = 'PROCESSING'"),
    ),
)

transfer_events: Final = Table(
    "transfer_events",
    metadata,
    Column("transfer_id", Uuid, nullable=False),
    Column("sequence", Integer, nullable=False),
    _tenant_id(),
    Column("step", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("cause", Text, nullable=True),
    Column("details", JSONB(none_as_null=True), nullable=True),
    Column(
        "occurred_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=func.clock_timestamp(),
    ),
    PrimaryKeyConstraint("transfer_id", "sequence", name="transfer_events_pkey"),
    # The repeatable step's key: its effect and this row stand in one transaction.
    Index(
        "transfer_events_step",
        "transfer_id",
        "step",
        unique=True,
        postgresql_where=text(f"step <> ALL (ARRAY{[step.value for step in REPEATED_STEPS]})"),
    ),
    CheckConstraint("sequence >= 1", name="transfer_events_sequence_positive"),
    CheckConstraint(
        _one_of(
            "stage",
            "ACCEPTED",
            "SCHEDULED",
            "AWAITING_APPROVAL",
            "RESERVED",
            "POSTED",
            "COMPLETED",
            "FAILED",
        ),
        name="transfer_events_stage_known",
    ),
)

holds: Final = Table(
    "holds",
    metadata,
    _id(),
    _tenant_id(),
    Column("transfer_id", Uuid, nullable=False),
    Column("account_id", Uuid, nullable=False),
    _currency(),
    Column("amount_minor", MinorUnits, nullable=False),
    Column("status", Text, nullable=False),
    _created_at(),
    _time("closed_at", nullable=True),
    Column(
        "captured_minor",
        MinorUnits,
        nullable=False,
        server_default=text("0"),
        comment="by manual captures",
    ),
    PrimaryKeyConstraint("id", name="holds_pkey"),
    UniqueConstraint("transfer_id", "account_id", name="holds_transfer"),
    ForeignKeyConstraint(["transfer_id"], ["transfers.id"], name="holds_of_transfer"),
    ForeignKeyConstraint(
        ["account_id", "tenant_id", "currency"],
        ["accounts.id", "accounts.tenant_id", "accounts.currency"],
        name="holds_account",
    ),
    CheckConstraint(_one_of("status", "HELD", "CAPTURED", "RELEASED"), name="holds_status_known"),
    CheckConstraint("(status = 'HELD') = (closed_at IS NULL)", name="holds_closing_dated"),
    CheckConstraint(
        f"amount_minor BETWEEN 1 AND {AMOUNT_MAXIMUM_MINOR}", name="holds_amount_range"
    ),
    CheckConstraint("captured_minor BETWEEN 0 AND amount_minor", name="holds_captured_range"),
    Index("holds_of_account", "account_id", "created_at"),
    postgresql_with={"fillfactor": "80"},
)

ledger_entries: Final = Table(
    "ledger_entries",
    metadata,
    _id(),
    _tenant_id(),
    Column("transfer_id", Uuid, nullable=False),
    Column("account_id", Uuid, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("direction", Text, nullable=False),
    Column("amount_minor", MinorUnits, nullable=False),
    _currency(),
    Column("balance_after_minor", MinorUnits, nullable=False),
    _time("effective_at", nullable=False),
    # The posting statement's time: it runs under the accounts' locks, so that times do not fall
    # along a sequence. The transaction's own time would be older than its wait for the locks.
    Column(
        "created_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=func.statement_timestamp(),
    ),
    PrimaryKeyConstraint("id", name="ledger_entries_pkey"),
    # That transfer and account are there, of the entry's tenant and currency, is held by a trigger
    # once a statement (``ledger_entries_known``): foreign keys took a third of a batch's time.
    UniqueConstraint("account_id", "sequence", name="ledger_entries_sequence"),
    CheckConstraint(_one_of("direction", "DEBIT", "CREDIT"), name="ledger_entries_direction_known"),
    CheckConstraint(
        f"amount_minor BETWEEN 1 AND {AMOUNT_MAXIMUM_MINOR}", name="ledger_entries_amount_range"
    ),
    CheckConstraint("sequence >= 1", name="ledger_entries_sequence_positive"),
    Index("ledger_entries_of_transfer", "transfer_id"),
    Index(
        "ledger_entries_effective",
        "account_id",
        "effective_at",
        postgresql_include=["direction", "amount_minor"],
    ),
)

transfer_legs: Final = Table(
    "transfer_legs",
    metadata,
    Column("transfer_id", Uuid, nullable=False),
    Column("position", SmallInteger, nullable=False),
    _tenant_id(),
    Column("source_account_id", Uuid, nullable=False),
    Column("destination_account_id", Uuid, nullable=False),
    Column("amount_minor", MinorUnits, nullable=False),
    _currency(),
    PrimaryKeyConstraint("transfer_id", "position", name="transfer_legs_pkey"),
    ForeignKeyConstraint(["transfer_id"], ["transfers.id"], name="transfer_legs_transfer"),
    ForeignKeyConstraint(
        ["source_account_id", "tenant_id", "currency"],
        ["accounts.id", "accounts.tenant_id", "accounts.currency"],
        name="transfer_legs_source",
    ),
    ForeignKeyConstraint(
        ["destination_account_id", "tenant_id", "currency"],
        ["accounts.id", "accounts.tenant_id", "accounts.currency"],
        name="transfer_legs_destination",
    ),
    CheckConstraint(f"position BETWEEN 1 AND {LEGS_MAXIMUM}", name="transfer_legs_position_range"),
    CheckConstraint(
        "source_account_id <> destination_account_id", name="transfer_legs_two_accounts"
    ),
    CheckConstraint(
        f"amount_minor BETWEEN 1 AND {AMOUNT_MAXIMUM_MINOR}", name="transfer_legs_amount_range"
    ),
    Index("transfer_legs_by_source", "source_account_id", "transfer_id"),
    Index("transfer_legs_by_destination", "destination_account_id", "transfer_id"),
)

transfer_operations: Final = Table(
    "transfer_operations",
    metadata,
    _tenant_id(),
    Column("idempotency_key", Text, nullable=False),
    Column("transfer_id", Uuid, nullable=False),
    Column("operation", Text, nullable=False),
    Column("amount_minor", MinorUnits, nullable=True),
    Column("note", Text, nullable=True),
    Column("requested_by", Uuid, nullable=False, comment="API key"),
    Column("result", JSONB, nullable=False, comment="the transfer right after it"),
    Column(
        "created_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=func.statement_timestamp(),
    ),
    PrimaryKeyConstraint("tenant_id", "idempotency_key", name="transfer_operations_pkey"),
    ForeignKeyConstraint(
        ["tenant_id", "idempotency_key"],
        ["idempotency_keys.tenant_id", "idempotency_keys.key"],
        name="transfer_operations_key_claimed",
    ),
    ForeignKeyConstraint(["transfer_id"], ["transfers.id"], name="transfer_operations_transfer"),
    CheckConstraint(
        _one_of("operation", "capture", "extend", "cancel", "approve", "reject"),
        name="transfer_operations_known",
    ),
    CheckConstraint(
        "(operation = 'capture') = (amount_minor IS NOT NULL)"
        f" AND amount_minor BETWEEN 0 AND {AMOUNT_MAXIMUM_MINOR}",
        name="transfer_operations_amount",
    ),
    Index("transfer_operations_of_transfer", "transfer_id", "created_at"),
    Index(
        "transfer_operations_approver",
        "transfer_id",
        "requested_by",
        unique=True,
        postgresql_where=text("operation IN ('approve', 'reject')"),
    ),
)

approval_rules: Final = Table(
    "approval_rules",
    metadata,
    _id(),
    _tenant_id(),
    _currency(),
    Column("threshold_minor", MinorUnits, nullable=False, comment="applies above it"),
    Column("approvers", SmallInteger, nullable=False),
    Column("deadline_seconds", Integer, nullable=False),
    _created_at(),
    Column("created_by", Uuid, nullable=True, comment="API key"),
    _time("retired_at", nullable=True),
    Column("retired_by", Uuid, nullable=True, comment="API key"),
    PrimaryKeyConstraint("id", name="approval_rules_pkey"),
    ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="approval_rules_tenant"),
    CheckConstraint("currency ~ '^[A-Z]{3}$'", name="approval_rules_currency_code"),
    CheckConstraint(
        f"threshold_minor BETWEEN 0 AND {AMOUNT_MAXIMUM_MINOR}", name="approval_rules_threshold"
    ),
    CheckConstraint(
        f"approvers BETWEEN 1 AND {APPROVERS_MAXIMUM}", name="approval_rules_approvers"
    ),
    CheckConstraint(
        f"deadline_seconds BETWEEN 1 AND {APPROVAL_SECONDS_MAXIMUM}",
        name="approval_rules_deadline",
    ),
    # The one in force for a threshold.
    Index(
        "approval_rules_in_force",
        "tenant_id",
        "currency",
        "threshold_minor",
        unique=True,
        postgresql_where=text("retired_at IS NULL"),
    ),
)

account_limits: Final = Table(
    "account_limits",
    metadata,
    Column("account_id", Uuid, nullable=False),
    _tenant_id(),
    Column("per_transfer_minor", MinorUnits, nullable=True),
    Column("per_day_minor", MinorUnits, nullable=True),
    Column("per_month_minor", MinorUnits, nullable=True),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("updated_by", Uuid, nullable=True, comment="API key"),
    PrimaryKeyConstraint("account_id", name="account_limits_pkey"),
    ForeignKeyConstraint(
        ["tenant_id", "account_id"],
        ["accounts.tenant_id", "accounts.id"],
        name="account_limits_account",
    ),
    CheckConstraint(
        " AND ".join(
            f"per_{period}_minor BETWEEN 0 AND {AMOUNT_MAXIMUM_MINOR}"
            for period in ("transfer", "day", "month")
        ),
        name="account_limits_range",
    ),
)

account_usage: Final = Table(
    "account_usage",
    metadata,
    Column("account_id", Uuid, nullable=False),
    _tenant_id(),
    Column("day", Date, nullable=False, comment="in UTC, of the reserve"),
    Column("used_minor", MinorUnits, nullable=False),
    PrimaryKeyConstraint("account_id", "day", name="account_usage_pkey"),
    ForeignKeyConstraint(
        ["account_id"], ["account_limits.account_id"], name="account_usage_limits"
    ),
    CheckConstraint("used_minor >= 0", name="account_usage_not_negative"),
)

unbalanced_postings: Final = Table(
    "unbalanced_postings",
    metadata,
    _tenant_id(),
    Column("transfer_id", Uuid, nullable=False),
)
"""Transfers whose entries do not add up yet: judged, and gone, when the transaction commits."""

transfer_batches: Final = Table(
    "transfer_batches",
    metadata,
    _id(),
    _tenant_id(),
    Column("idempotency_key", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("is_atomic", Boolean, nullable=False),
    Column("description", Text, nullable=True),
    Column("state", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("failure_code", Text, nullable=True),
    Column("failure_message", Text, nullable=True),
    Column("total_rows", Integer, nullable=False),
    Column("position", Integer, nullable=False, server_default=text("0")),
    Column("succeeded_rows", Integer, nullable=False, server_default=text("0")),
    Column("replayed_rows", Integer, nullable=False, server_default=text("0")),
    Column("failed_rows", Integer, nullable=False, server_default=text("0")),
    Column("rejected_rows", Integer, nullable=False, server_default=text("0")),
    Column("cancelled_rows", Integer, nullable=False, server_default=text("0")),
    Column("requested_by", Uuid, nullable=True, comment="the API key of the request"),
    _time("cancel_requested_at", nullable=True),
    _created_at(),
    _time("started_at", nullable=True),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    _time("completed_at", nullable=True),
    PrimaryKeyConstraint("id", name="transfer_batches_pkey"),
    ForeignKeyConstraint(
        ["tenant_id", "idempotency_key"],
        ["idempotency_keys.tenant_id", "idempotency_keys.key"],
        name="transfer_batches_key_claimed",
    ),
    UniqueConstraint("tenant_id", "idempotency_key", name="transfer_batches_idempotency_key"),
    ForeignKeyConstraint(["requested_by"], ["api_keys.id"], name="transfer_batches_requested_by"),
    CheckConstraint(
        "(state = 'PROCESSING' AND stage IN ('STAGED', 'RUNNING'))"
        " OR (state = 'SUCCESS' AND stage = 'COMPLETED')"
        " OR (state = 'FAILED' AND stage IN ('CANCELLED', 'REJECTED'))",
        name="transfer_batches_stage_of_state",
    ),
    CheckConstraint(
        "(state = 'FAILED') = (failure_code IS NOT NULL)"
        " AND (failure_code IS NULL) = (failure_message IS NULL)",
        name="transfer_batches_failure_explained",
    ),
    CheckConstraint(
        "(state = 'PROCESSING') = (completed_at IS NULL)",
        name="transfer_batches_completion_dated",
    ),
    CheckConstraint(f"total_rows BETWEEN 1 AND {BATCH_ROWS_MAXIMUM}", name="transfer_batches_size"),
    CheckConstraint(
        "position BETWEEN 0 AND total_rows AND least(replayed_rows, failed_rows, rejected_rows,"
        " cancelled_rows) >= 0 AND replayed_rows <= succeeded_rows"
        " AND succeeded_rows + failed_rows + rejected_rows + cancelled_rows"
        " BETWEEN CASE state WHEN 'PROCESSING' THEN 0 ELSE total_rows END AND total_rows",
        name="transfer_batches_rows_counted",
    ),
    Index("transfer_batches_of_tenant", "tenant_id", "id"),
    Index(
        "transfer_batches_processing",
        "id",
        postgresql_where=text("state = 'PROCESSING'"),
    ),
)

transfer_batch_rows: Final = Table(
    "transfer_batch_rows",
    metadata,
    Column("batch_id", Uuid, nullable=False),
    _tenant_id(),
    Column("position", Integer, nullable=False),
    Column("idempotency_key", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("source", Text, nullable=True, comment="as the request names the account"),
    Column("destination", Text, nullable=True),
    Column("amount_minor", MinorUnits, nullable=False),
    _currency(),
    Column("description", Text, nullable=True),
    _json_object(),
    _time("effective_at", nullable=True),
    Column("status", Text, nullable=False, server_default=text("'PENDING'")),
    Column("code", Text, nullable=True),
    Column("message", Text, nullable=True),
    Column("transfer_id", Uuid, nullable=True),
    PrimaryKeyConstraint("batch_id", "position", name="transfer_batch_rows_pkey"),
    CheckConstraint("position >= 1", name="transfer_batch_rows_position_positive"),
    CheckConstraint(
        _one_of("status", "PENDING", "SUCCEEDED", "FAILED", "REJECTED", "CANCELLED"),
        name="transfer_batch_rows_status_known",
    ),
    CheckConstraint(
        "status NOT IN ('SUCCEEDED', 'FAILED') OR transfer_id IS NOT NULL",
        name="transfer_batch_rows_transfer_named",
    ),
    CheckConstraint(
        "(code IS NULL) = (message IS NULL)"
        " AND (status NOT IN ('FAILED', 'REJECTED') OR code IS NOT NULL)",
        name="transfer_batch_rows_failure_explained",
    ),
    # Room in each page for the row with its outcome, so that writing it touches no index.
    postgresql_with={"fillfactor": "50"},
)

audit_log: Final = Table(
    "audit_log",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("tenant_id", Uuid, nullable=True, comment="null: of no tenant"),
    Column("recorded_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("actor_kind", Text, nullable=False),
    Column("actor_id", Text, nullable=True),
    Column("actor_name", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject_type", Text, nullable=False),
    Column("subject_id", Text, nullable=False),
    Column("reason", Text, nullable=True),
    Column("request_id", Text, nullable=True),
    Column("source_address", Text, nullable=True),
    Column("details", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    PrimaryKeyConstraint("id", name="audit_log_pkey"),
    ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="audit_log_tenant"),
    CheckConstraint(_one_of("actor_kind", *ActorKind), name="audit_log_actor_known"),
    CheckConstraint("action ~ '^[a-z_]+[.][a-z_]+$'", name="audit_log_action_shape"),
    CheckConstraint("jsonb_typeof(details) = 'object'", name="audit_log_details_object"),
    Index("audit_log_of_tenant", "tenant_id", "id"),
    Index("audit_log_of_subject", "subject_type", "subject_id", "id"),
)

ledger_seals: Final = Table(
    "ledger_seals",
    metadata,
    Column("number", BigInteger, nullable=False, autoincrement=False),
    Column("previous_hash", LargeBinary, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("segments", Integer, nullable=False),
    Column("entries", Integer, nullable=False),
    Column("position", BigInteger, nullable=False, comment="entries of this and all before"),
    _time("sealed_at", nullable=False),
    Column("hash", LargeBinary, nullable=False),
    PrimaryKeyConstraint("number", name="ledger_seals_pkey"),
    UniqueConstraint("previous_hash", name="ledger_seals_previous"),
    CheckConstraint("number >= 1", name="ledger_seals_number_positive"),
    CheckConstraint(
        "segments >= 1 AND entries >= segments AND position >= entries",
        name="ledger_seals_counted",
    ),
    CheckConstraint(
        "octet_length(previous_hash) = 32 AND octet_length(root) = 32 AND octet_length(hash) = 32",
        name="ledger_seals_hash_length",
    ),
)

ledger_seal_segments: Final = Table(
    "ledger_seal_segments",
    metadata,
    Column("seal_number", BigInteger, nullable=False),
    Column("account_id", Uuid, nullable=False),
    Column("first_sequence", BigInteger, nullable=False),
    Column("last_sequence", BigInteger, nullable=False),
    Column(
        "records",
        LargeBinary,
        nullable=False,
        comment="of each entry its id, its digest, its transfer's digest",
    ),
    Column("digest", LargeBinary, nullable=False),
    # No two segments of an account begin alike: sealing twice at once is refused.
    PrimaryKeyConstraint("account_id", "first_sequence", name="ledger_seal_segments_pkey"),
    UniqueConstraint("seal_number", "account_id", name="ledger_seal_segments_of_seal"),
    ForeignKeyConstraint(
        ["seal_number"],
        ["ledger_seals.number"],
        name="ledger_seal_segments_seal",
        deferrable=True,
        initially="DEFERRED",
    ),
    CheckConstraint(
        "first_sequence >= 1 AND last_sequence >= first_sequence"
        f" AND octet_length(records) = {RECORD_BYTES} * (last_sequence - first_sequence + 1)",
        name="ledger_seal_segments_records",
    ),
    CheckConstraint("octet_length(digest) = 32", name="ledger_seal_segments_digest_length"),
)

ledger_proofs: Final = Table(
    "ledger_proofs",
    metadata,
    Column("name", Text, nullable=False),
    Column("position", Text, nullable=True, comment="null: at the beginning"),
    _time("pass_began_at", nullable=False),
    Column("examined", BigInteger, nullable=False, server_default=text("0")),
    _time("advanced_at", nullable=False),
    _time("completed_at", nullable=True),
    Column("completed_examined", BigInteger, nullable=True),
    Column("remaining", BigInteger, nullable=True, comment="entries left unsealed"),
    PrimaryKeyConstraint("name", name="ledger_proofs_pkey"),
)

ledger_violations: Final = Table(
    "ledger_violations",
    metadata,
    Column("proof", Text, nullable=False),
    Column("invariant", SmallInteger, nullable=False),
    Column("subject", Text, nullable=False),
    Column("message", Text, nullable=False),
    _time("first_seen_at", nullable=False),
    _time("last_seen_at", nullable=False),
    _time("resolved_at", nullable=True),
    PrimaryKeyConstraint("proof", "invariant", "subject", name="ledger_violations_pkey"),
)

console_sessions: Final = Table(
    "console_sessions",
    metadata,
    Column("token_hash", LargeBinary, nullable=False, comment="SHA-256 of the cookie's token"),
    _tenant_id(),
    Column("api_key_id", Uuid, nullable=False),
    Column("viewed_tenant_id", Uuid, nullable=False),
    Column("scopes", ARRAY(Text), nullable=True, comment="of a token; null: those of the key"),
    _created_at(),
    Column("last_used_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("token_hash", name="console_sessions_pkey"),
    ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="console_sessions_tenant"),
    ForeignKeyConstraint(["api_key_id"], ["api_keys.id"], name="console_sessions_api_key"),
    ForeignKeyConstraint(
        ["viewed_tenant_id"], ["tenants.id"], name="console_sessions_viewed_tenant"
    ),
    CheckConstraint("octet_length(token_hash) = 32", name="console_sessions_token_hash_length"),
)
