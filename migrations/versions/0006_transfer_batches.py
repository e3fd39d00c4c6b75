"""Batches of transfers with their rows, and a cheaper check of idempotency keys."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.guards import set_timeouts

revision = "0006"
down_revision = "0003"
branch_labels = None
depends_on = None

# A counted repetition takes twenty times as long to match: most of the time of a key's insert.
KEY_SHAPE = "octet_length(key) BETWEEN 1 AND 200 AND key ~ '^[!-~]+$'"
EARLIER_KEY_SHAPE = "key ~ '^[!-~]{1,200}$'"


def upgrade() -> None:
    """Bring the schema up to this revision."""
    set_timeouts()
    _check_keys(KEY_SHAPE)
    op.create_table(
        "transfer_batches",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("is_atomic", sa.Boolean(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("failure_code", sa.Text(), nullable=True),
        sa.Column("failure_message", sa.Text(), nullable=True),
        sa.Column("total_rows", sa.Integer(), nullable=False),
        *(
            sa.Column(name, sa.Integer(), server_default=sa.text("0"), nullable=False)
            for name in (
                "position",
                "succeeded_rows",
                "failed_rows",
                "rejected_rows",
                "cancelled_rows",
            )
        ),
        sa.Column("requested_by", sa.Uuid(), nullable=True, comment="the API key of the request"),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="transfer_batches_pkey"),
        sa.ForeignKeyConstraint(
            ["tenant_id", "idempotency_key"],
            ["idempotency_keys.tenant_id", "idempotency_keys.key"],
            name="transfer_batches_key_claimed",
        ),
        sa.UniqueConstraint(
            "tenant_id", "idempotency_key", name="transfer_batches_idempotency_key"
        ),
        sa.ForeignKeyConstraint(
            ["requested_by"], ["api_keys.id"], name="transfer_batches_requested_by"
        ),
        sa.CheckConstraint(
            "(state = 'PROCESSING' AND stage IN ('STAGED', 'RUNNING'))"
            " OR (state = 'SUCCESS' AND stage = 'COMPLETED')"
            " OR (state = 'FAILED' AND stage IN ('CANCELLED', 'REJECTED'))",
            name="transfer_batches_stage_of_state",
        ),
        sa.CheckConstraint(
            "(state = 'FAILED') = (failure_code IS NOT NULL)"
            " AND (failure_code IS NULL) = (failure_message IS NULL)",
            name="transfer_batches_failure_explained",
        ),
        sa.CheckConstraint(
            "(state = 'PROCESSING') = (completed_at IS NULL)",
            name="transfer_batches_completion_dated",
        ),
        sa.CheckConstraint("total_rows BETWEEN 1 AND 100000", name="transfer_batches_size"),
        sa.CheckConstraint(
            "position BETWEEN 0 AND total_rows AND least(succeeded_rows, failed_rows,"
            " rejected_rows, cancelled_rows) >= 0 AND succeeded_rows + failed_rows"
            " + rejected_rows + cancelled_rows"
            " BETWEEN CASE state WHEN 'PROCESSING' THEN 0 ELSE total_rows END AND total_rows",
            name="transfer_batches_rows_counted",
        ),
    )
    op.create_index("transfer_batches_of_tenant", "transfer_batches", ["tenant_id", "id"])
    op.create_index(
        "transfer_batches_processing",
        "transfer_batches",
        ["id"],
        postgresql_where=sa.text("state = 'PROCESSING'"),
    )
    op.create_table(
        "transfer_batch_rows",
        sa.Column("batch_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=True, comment="as the request names the account"),
        sa.Column("destination", sa.Text(), nullable=True),
        sa.Column("amount_minor", sa.Numeric(38, 0), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column(
            "metadata",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("effective_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status", sa.Text(), server_default=sa.text("'PENDING'"), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("transfer_id", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("batch_id", "position", name="transfer_batch_rows_pkey"),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["transfer_batches.id"], name="transfer_batch_rows_batch"
        ),
        sa.CheckConstraint("position >= 1", name="transfer_batch_rows_position_positive"),
        sa.CheckConstraint(
            "status IN ('PENDING', 'SUCCEEDED', 'FAILED', 'REJECTED', 'CANCELLED')",
            name="transfer_batch_rows_status_known",
        ),
        sa.CheckConstraint(
            "status NOT IN ('SUCCEEDED', 'FAILED') OR transfer_id IS NOT NULL",
            name="transfer_batch_rows_transfer_named",
        ),
        sa.CheckConstraint(
            "(code IS NULL) = (message IS NULL)"
            " AND (status NOT IN ('FAILED', 'REJECTED') OR code IS NOT NULL)",
            name="transfer_batch_rows_failure_explained",
        ),
        postgresql_with={"fillfactor": "50"},
    )
    op.add_column("transfers", sa.Column("batch_id", sa.Uuid(), nullable=True))
    op.create_foreign_key("transfers_batch", "transfers", "transfer_batches", ["batch_id"], ["id"])


def downgrade() -> None:
    """Take the schema back to the revision before."""
    set_timeouts()
    op.drop_column("transfers", "batch_id")
    op.drop_table("transfer_batch_rows")
    op.drop_table("transfer_batches")
    _check_keys(EARLIER_KEY_SHAPE)


def _check_keys(shape: str) -> None:
    op.drop_constraint("idempotency_keys_shape", "idempotency_keys")
    op.create_check_constraint("idempotency_keys_shape", "idempotency_keys", shape)
