"""Standing orders and their runs."""

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
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)

from domain.limits import (
    AMOUNT_MAXIMUM_MINOR,
    STANDING_ORDER_INTERVAL_SECONDS_MAXIMUM,
    STANDING_ORDER_INTERVAL_SECONDS_MINIMUM,
)
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

standing_orders: Final = Table(
    "standing_orders",
    metadata,
    id_column(),
    tenant_id_column(),
    Column("idempotency_key", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("type", Text, nullable=False),
    Column("source_account_id", Uuid, nullable=False),
    Column("destination_account_id", Uuid, nullable=False),
    Column("amount_minor", MinorUnits, nullable=False),
    currency_column(),
    Column("description", Text, nullable=True),
    metadata_column(),
    Column("interval_seconds", Integer, nullable=True),
    Column("cron", Text, nullable=True),
    Column("time_zone", Text, nullable=True),
    time_column("start_at", nullable=False),
    time_column("end_at", nullable=True),
    Column("missed_runs", Text, nullable=False),
    Column("status", Text, nullable=False, server_default=text("'ACTIVE'")),
    Column("status_reason", Text, nullable=True),
    Column("created_by", Uuid, nullable=False, comment="the API key that it was made with"),
    created_at_column(),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    time_column("paused_at", nullable=True),
    time_column("resumed_at", nullable=True),
    time_column("ended_at", nullable=True),
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
        one_of("type", "INTERNAL", "DEPOSIT", "WITHDRAWAL"), name="standing_orders_type_known"
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
        one_of("missed_runs", "SKIP", "RUN_LATEST", "RUN_ALL"),
        name="standing_orders_missed_runs_known",
    ),
    CheckConstraint(
        one_of("status", "ACTIVE", "PAUSED", "ENDED", "CANCELLED"),
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
    time_column("scheduled_at", nullable=False),
    tenant_id_column(),
    Column("state", Text, nullable=False),
    Column("transfer_id", Uuid, nullable=True, comment="given before the transfer is recorded"),
    Column("failure_code", Text, nullable=True),
    Column("failure_message", Text, nullable=True),
    created_at_column(),
    time_column("completed_at", nullable=True),
    PrimaryKeyConstraint("order_id", "scheduled_at", name="standing_order_runs_pkey"),
    ForeignKeyConstraint(
        ["tenant_id", "order_id"],
        ["standing_orders.tenant_id", "standing_orders.id"],
        name="standing_order_runs_order",
    ),
    CheckConstraint(
        one_of("state", "PROCESSING", "SUCCESS", "FAILED", "SKIPPED"),
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
