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
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
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

from domain.limits import AMOUNT_MAXIMUM_MINOR, BALANCE_DIGITS, BATCH_ROWS_MAXIMUM

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
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


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
    Column("secret_hash", LargeBinary, nullable=False, comment="SHA-256 of the whole key"),
    Column("scopes", ARRAY(Text), nullable=False),
    _created_at(),
    _time("revoked_at", nullable=True),
    PrimaryKeyConstraint("id", name="api_keys_pkey"),
    ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="api_keys_tenant"),
    UniqueConstraint("secret_hash", name="api_keys_secret_hash"),
    CheckConstraint("octet_length(secret_hash) = 32", name="api_keys_secret_hash_length"),
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
    ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="idempotency_keys_tenant"),
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
        "(state = 'PROCESSING' AND stage IN ('ACCEPTED', 'RESERVED', 'POSTED'))"
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
    postgresql_with={"fillfactor": "80"},
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
    Column(
        "occurred_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=func.clock_timestamp(),
    ),
    PrimaryKeyConstraint("transfer_id", "sequence", name="transfer_events_pkey"),
    # The repeatable step's key: its effect and this row stand in one transaction.
    UniqueConstraint("transfer_id", "step", name="transfer_events_step"),
    ForeignKeyConstraint(["transfer_id"], ["transfers.id"], name="transfer_events_transfer"),
    CheckConstraint("sequence >= 1", name="transfer_events_sequence_positive"),
    CheckConstraint(
        _one_of("stage", "ACCEPTED", "RESERVED", "POSTED", "COMPLETED", "FAILED"),
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
    PrimaryKeyConstraint("id", name="holds_pkey"),
    UniqueConstraint("transfer_id", name="holds_transfer"),
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
    ForeignKeyConstraint(["batch_id"], ["transfer_batches.id"], name="transfer_batch_rows_batch"),
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
