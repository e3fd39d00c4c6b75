"""Batches of transfers and their rows."""

from typing import Final

from sqlalchemy import (
    Boolean,
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

from domain.limits import BATCH_ROWS_MAXIMUM
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

transfer_batches: Final = Table(
    "transfer_batches",
    metadata,
    id_column(),
    tenant_id_column(),
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
    time_column("cancel_requested_at", nullable=True),
    created_at_column(),
    time_column("started_at", nullable=True),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    time_column("completed_at", nullable=True),
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
    tenant_id_column(),
    Column("position", Integer, nullable=False),
    Column("idempotency_key", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("source", Text, nullable=True, comment="as the request names the account"),
    Column("destination", Text, nullable=True),
    Column("amount_minor", MinorUnits, nullable=False),
    currency_column(),
    Column("description", Text, nullable=True),
    metadata_column(),
    time_column("effective_at", nullable=True),
    Column("status", Text, nullable=False, server_default=text("'PENDING'")),
    Column("code", Text, nullable=True),
    Column("message", Text, nullable=True),
    Column("transfer_id", Uuid, nullable=True),
    PrimaryKeyConstraint("batch_id", "position", name="transfer_batch_rows_pkey"),
    CheckConstraint("position >= 1", name="transfer_batch_rows_position_positive"),
    CheckConstraint(
        one_of("status", "PENDING", "SUCCEEDED", "FAILED", "REJECTED", "CANCELLED"),
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
