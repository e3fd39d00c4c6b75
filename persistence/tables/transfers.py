"""Transfers, what they hold, and what was done with them."""

from typing import Final

from sqlalchemy import (
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from domain.limits import (
    AMOUNT_MAXIMUM_MINOR,
    APPROVERS_MAXIMUM,
    LEGS_MAXIMUM,
)
from domain.states import REPEATED_STEPS
from persistence.tables.columns import (
    MinorUnits,
    created_at_column,
    currency_column,
    id_column,
    metadata,
    metadata_column,
    one_of,
    tenant_id_column,
    time_column,
)

transfers: Final = Table(
    "transfers",
    metadata,
    id_column(),
    tenant_id_column(),
    Column("idempotency_key", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("type", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("source_account_id", Uuid, nullable=False),
    Column("destination_account_id", Uuid, nullable=False),
    Column("amount_minor", MinorUnits, nullable=False),
    currency_column(),
    Column("description", Text, nullable=True),
    metadata_column(),
    Column("failure_code", Text, nullable=True),
    Column("failure_message", Text, nullable=True),
    Column("reversal_of", Uuid, nullable=True),
    time_column("effective_at", nullable=False),
    created_at_column(),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    time_column("completed_at", nullable=True),
    Column(
        "captured_minor", MinorUnits, nullable=True, comment="null: captures itself, as a whole"
    ),
    Column("reversed_minor", MinorUnits, nullable=False, server_default=text("0")),
    time_column("expires_at", nullable=True),
    time_column("execute_at", nullable=True),
    time_column("approval_deadline_at", nullable=True),
    Column("approvals_required", SmallInteger, nullable=True),
    Column("leg_count", SmallInteger, nullable=True, comment="null: the one of this row"),
    # No foreign key: each transfer would lock the row of its key.
    Column("requested_by", Uuid, nullable=True, comment="API key"),
    Column("batch_id", Uuid, nullable=True),
    PrimaryKeyConstraint("id", name="transfers_pkey"),
    # That key, accounts and batch are there is held by a trigger once a statement
    # (``transfers_known``), and that reversals sum to ``reversed_minor`` by one at commit
    # (``transfers_reversals_counted``).
    UniqueConstraint("tenant_id", "idempotency_key", name="transfers_idempotency_key"),
    ForeignKeyConstraint(["reversal_of"], ["transfers.id"], name="transfers_reversal_of"),
    CheckConstraint(
        one_of("type", "INTERNAL", "DEPOSIT", "WITHDRAWAL", "REVERSAL"),
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

transfer_events: Final = Table(
    "transfer_events",
    metadata,
    Column("transfer_id", Uuid, nullable=False),
    Column("sequence", Integer, nullable=False),
    tenant_id_column(),
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
        one_of(
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

transfer_legs: Final = Table(
    "transfer_legs",
    metadata,
    Column("transfer_id", Uuid, nullable=False),
    Column("position", SmallInteger, nullable=False),
    tenant_id_column(),
    Column("source_account_id", Uuid, nullable=False),
    Column("destination_account_id", Uuid, nullable=False),
    Column("amount_minor", MinorUnits, nullable=False),
    currency_column(),
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
    tenant_id_column(),
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
        one_of("operation", "capture", "extend", "cancel", "approve", "reject"),
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

holds: Final = Table(
    "holds",
    metadata,
    id_column(),
    tenant_id_column(),
    Column("transfer_id", Uuid, nullable=False),
    Column("account_id", Uuid, nullable=False),
    currency_column(),
    Column("amount_minor", MinorUnits, nullable=False),
    Column("status", Text, nullable=False),
    created_at_column(),
    time_column("closed_at", nullable=True),
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
    CheckConstraint(one_of("status", "HELD", "CAPTURED", "RELEASED"), name="holds_status_known"),
    CheckConstraint("(status = 'HELD') = (closed_at IS NULL)", name="holds_closing_dated"),
    CheckConstraint(
        f"amount_minor BETWEEN 1 AND {AMOUNT_MAXIMUM_MINOR}", name="holds_amount_range"
    ),
    CheckConstraint("captured_minor BETWEEN 0 AND amount_minor", name="holds_captured_range"),
    Index("holds_of_account", "account_id", "created_at"),
    postgresql_with={"fillfactor": "80"},
)
