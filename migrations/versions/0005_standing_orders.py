"""Standing orders and their runs.

What an order says never changes, and neither does one that is over; a run is changed once, when its
outcome is known. Nothing of either is ever deleted.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.guards import set_timeouts

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

FIXED_OF_ORDER = (
    "id",
    "tenant_id",
    "idempotency_key",
    "fingerprint",
    "type",
    "source_account_id",
    "destination_account_id",
    "amount_minor",
    "currency",
    "description",
    "metadata",
    "interval_seconds",
    "cron",
    "time_zone",
    "start_at",
    "end_at",
    "missed_runs",
    "created_by",
    "created_at",
)
FIXED_OF_RUN = ("order_id", "scheduled_at", "tenant_id", "created_at")


def _changed(columns: tuple[str, ...]) -> str:
    new, old = (f"({', '.join(f'{row}.{column}' for column in columns)})" for row in ("NEW", "OLD"))
    return f"{new} IS DISTINCT FROM {old}"


TRIGGERS = {
    ("standing_orders", "standing_orders_final"): f"""
CREATE TRIGGER standing_orders_final BEFORE UPDATE ON standing_orders FOR EACH ROW
WHEN (OLD.status IN ('ENDED', 'CANCELLED') OR {_changed(FIXED_OF_ORDER)})
EXECUTE FUNCTION refuse_change()
""",
    ("standing_orders", "standing_orders_kept"): """
CREATE TRIGGER standing_orders_kept BEFORE DELETE OR TRUNCATE ON standing_orders
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
""",
    ("standing_order_runs", "standing_order_runs_final"): f"""
CREATE TRIGGER standing_order_runs_final BEFORE UPDATE ON standing_order_runs FOR EACH ROW
WHEN (OLD.state <> 'PROCESSING' OR {_changed(FIXED_OF_RUN)})
EXECUTE FUNCTION refuse_change()
""",
    ("standing_order_runs", "standing_order_runs_kept"): """
CREATE TRIGGER standing_order_runs_kept BEFORE DELETE OR TRUNCATE ON standing_order_runs
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
""",
}


def upgrade() -> None:
    """Bring the schema up to this revision."""
    set_timeouts()
    _create_orders()
    _create_runs()
    for (table, trigger), definition in TRIGGERS.items():
        op.execute(definition)
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}")


def downgrade() -> None:
    """Take the schema back to the revision before."""
    set_timeouts()
    op.drop_table("standing_order_runs")
    op.drop_table("standing_orders")


def _time(name: str, *, nullable: bool, default: str | None = None) -> sa.Column[object]:
    return sa.Column(
        name,
        sa.DateTime(timezone=True),
        nullable=nullable,
        server_default=sa.text(default) if default else None,
    )


def _create_orders() -> None:
    op.create_table(
        "standing_orders",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("source_account_id", sa.Uuid(), nullable=False),
        sa.Column("destination_account_id", sa.Uuid(), nullable=False),
        sa.Column("amount_minor", sa.Numeric(38, 0), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column(
            "metadata",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("interval_seconds", sa.Integer(), nullable=True),
        sa.Column("cron", sa.Text(), nullable=True),
        sa.Column("time_zone", sa.Text(), nullable=True),
        _time("start_at", nullable=False),
        _time("end_at", nullable=True),
        sa.Column("missed_runs", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'ACTIVE'"), nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=True),
        sa.Column(
            "created_by", sa.Uuid(), nullable=False, comment="the API key that it was made with"
        ),
        _time("created_at", nullable=False, default="now()"),
        _time("updated_at", nullable=False, default="now()"),
        _time("paused_at", nullable=True),
        _time("resumed_at", nullable=True),
        _time("ended_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name="standing_orders_pkey"),
        sa.ForeignKeyConstraint(
            ["tenant_id", "idempotency_key"],
            ["idempotency_keys.tenant_id", "idempotency_keys.key"],
            name="standing_orders_key_claimed",
        ),
        sa.UniqueConstraint("tenant_id", "idempotency_key", name="standing_orders_idempotency_key"),
        sa.UniqueConstraint("tenant_id", "id", name="standing_orders_of_tenant"),
        sa.ForeignKeyConstraint(
            ["source_account_id", "tenant_id", "currency"],
            ["accounts.id", "accounts.tenant_id", "accounts.currency"],
            name="standing_orders_source",
        ),
        sa.ForeignKeyConstraint(
            ["destination_account_id", "tenant_id", "currency"],
            ["accounts.id", "accounts.tenant_id", "accounts.currency"],
            name="standing_orders_destination",
        ),
        sa.ForeignKeyConstraint(["created_by"], ["api_keys.id"], name="standing_orders_created_by"),
        sa.CheckConstraint(
            "type IN ('INTERNAL', 'DEPOSIT', 'WITHDRAWAL')", name="standing_orders_type_known"
        ),
        sa.CheckConstraint(
            f"amount_minor BETWEEN 1 AND {10**30}", name="standing_orders_amount_range"
        ),
        sa.CheckConstraint(
            "source_account_id <> destination_account_id", name="standing_orders_two_accounts"
        ),
        sa.CheckConstraint(
            "jsonb_typeof(metadata) = 'object'", name="standing_orders_metadata_object"
        ),
        sa.CheckConstraint(
            "(interval_seconds IS NULL) <> (cron IS NULL) AND (cron IS NULL) = (time_zone IS NULL)",
            name="standing_orders_one_schedule",
        ),
        sa.CheckConstraint(
            "interval_seconds BETWEEN 1 AND 31622400", name="standing_orders_interval_range"
        ),
        sa.CheckConstraint("end_at >= start_at", name="standing_orders_end_after_start"),
        sa.CheckConstraint(
            "missed_runs IN ('SKIP', 'RUN_LATEST', 'RUN_ALL')",
            name="standing_orders_missed_runs_known",
        ),
        sa.CheckConstraint(
            "status IN ('ACTIVE', 'PAUSED', 'ENDED', 'CANCELLED')",
            name="standing_orders_status_known",
        ),
        sa.CheckConstraint(
            "(status IN ('ENDED', 'CANCELLED')) = (ended_at IS NOT NULL)",
            name="standing_orders_ending_dated",
        ),
    )
    op.create_index(
        "standing_orders_open",
        "standing_orders",
        ["id"],
        postgresql_where=sa.text("status IN ('ACTIVE', 'PAUSED')"),
    )


def _create_runs() -> None:
    op.create_table(
        "standing_order_runs",
        sa.Column("order_id", sa.Uuid(), nullable=False),
        _time("scheduled_at", nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column(
            "transfer_id",
            sa.Uuid(),
            nullable=True,
            comment="given before the transfer is recorded",
        ),
        sa.Column("failure_code", sa.Text(), nullable=True),
        sa.Column("failure_message", sa.Text(), nullable=True),
        _time("created_at", nullable=False, default="now()"),
        _time("completed_at", nullable=True),
        sa.PrimaryKeyConstraint("order_id", "scheduled_at", name="standing_order_runs_pkey"),
        sa.ForeignKeyConstraint(
            ["tenant_id", "order_id"],
            ["standing_orders.tenant_id", "standing_orders.id"],
            name="standing_order_runs_order",
        ),
        sa.CheckConstraint(
            "state IN ('PROCESSING', 'SUCCESS', 'FAILED', 'SKIPPED')",
            name="standing_order_runs_state_known",
        ),
        sa.CheckConstraint(
            "CASE state WHEN 'SKIPPED' THEN transfer_id IS NULL WHEN 'FAILED' THEN true"
            " ELSE transfer_id IS NOT NULL END",
            name="standing_order_runs_transfer_of_state",
        ),
        sa.CheckConstraint(
            "(state IN ('FAILED', 'SKIPPED')) = (failure_code IS NOT NULL)"
            " AND (failure_code IS NULL) = (failure_message IS NULL)",
            name="standing_order_runs_failure_explained",
        ),
        sa.CheckConstraint(
            "(state = 'PROCESSING') = (completed_at IS NULL)",
            name="standing_order_runs_completion_dated",
        ),
    )
    op.create_index(
        "standing_order_runs_processing",
        "standing_order_runs",
        ["order_id", "scheduled_at"],
        postgresql_where=sa.text("state = 'PROCESSING'"),
    )
