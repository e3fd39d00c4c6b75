"""The whole life of a transfer: manual captures, schedules, approvals, reversals, legs and limits.

Adds only: the code of the revision before works on this schema too. New columns are null or have a
constant default, so that no row is rewritten.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.guards import set_timeouts

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

AMOUNT_MAXIMUM = 10**30
EARLIER_STAGES = ("ACCEPTED", "RESERVED", "POSTED")
STAGES = ("ACCEPTED", "SCHEDULED", "AWAITING_APPROVAL", "RESERVED", "POSTED")
REPEATED_STEPS = ("approve", "extend", "capture")
TABLES = (
    "transfer_legs",
    "transfer_operations",
    "approval_rules",
    "account_limits",
    "account_usage",
)
APPEND_ONLY = ("transfer_legs", "transfer_operations")

EARLIER_FIXED_COLUMNS = (
    "id",
    "tenant_id",
    "idempotency_key",
    "fingerprint",
    "type",
    "source_account_id",
    "destination_account_id",
    "amount_minor",
    "currency",
    "created_at",
)
FIXED_COLUMNS = (*EARLIER_FIXED_COLUMNS, "execute_at", "requested_by", "leg_count", "reversal_of")
# All that a final transfer keeps: what is reversed of it is the one thing that may still grow.
FINAL_COLUMNS = (
    "state",
    "stage",
    "description",
    "metadata",
    "failure_code",
    "failure_message",
    "effective_at",
    "updated_at",
    "completed_at",
    "captured_minor",
    "expires_at",
    "approval_deadline_at",
    "approvals_required",
)


def _row(name: str, columns: tuple[str, ...]) -> str:
    return f"({', '.join(f'{name}.{column}' for column in columns)})"


def _changes(columns: tuple[str, ...]) -> str:
    return f"{_row('NEW', columns)} IS DISTINCT FROM {_row('OLD', columns)}"


def _final(condition: str) -> str:
    return f"""
CREATE TRIGGER transfers_final BEFORE UPDATE ON transfers FOR EACH ROW
WHEN ({condition})
EXECUTE FUNCTION refuse_final_change()
"""


def upgrade() -> None:
    """Bring the schema up to this revision."""
    set_timeouts()
    _add_columns()
    _create_tables()
    _know_stages(STAGES)
    op.drop_constraint("transfer_events_step", "transfer_events")
    op.create_index(
        "transfer_events_step",
        "transfer_events",
        ["transfer_id", "step"],
        unique=True,
        postgresql_where=sa.text(f"step <> ALL (ARRAY{list(REPEATED_STEPS)})"),
    )
    op.drop_constraint("holds_transfer", "holds")
    op.create_unique_constraint("holds_transfer", "holds", ["transfer_id", "account_id"])
    _replace_final_trigger(
        f"(OLD.state <> 'PROCESSING' AND {_changes(FINAL_COLUMNS)}) OR {_changes(FIXED_COLUMNS)}"
    )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_append_only")


def downgrade() -> None:
    """Take the schema back to the revision before."""
    set_timeouts()
    _replace_final_trigger(f"OLD.state <> 'PROCESSING' OR {_changes(EARLIER_FIXED_COLUMNS)}")
    op.drop_constraint("holds_transfer", "holds")
    op.create_unique_constraint("holds_transfer", "holds", ["transfer_id"])
    op.drop_index("transfer_events_step", table_name="transfer_events")
    op.create_unique_constraint("transfer_events_step", "transfer_events", ["transfer_id", "step"])
    _know_stages(EARLIER_STAGES)
    for table in reversed(TABLES):
        op.drop_table(table)
    for constraint in (
        "transfers_captured_range",
        "transfers_reversed_range",
        "transfers_approval_whole",
        "transfers_several_legs",
    ):
        op.drop_constraint(constraint, "transfers")
    for column in (
        "captured_minor",
        "reversed_minor",
        "expires_at",
        "execute_at",
        "approval_deadline_at",
        "approvals_required",
        "leg_count",
        "requested_by",
    ):
        op.drop_column("transfers", column)
    op.drop_column("transfer_events", "details")
    op.drop_constraint("holds_captured_range", "holds")
    op.drop_column("holds", "captured_minor")


def _replace_final_trigger(condition: str) -> None:
    op.execute("DROP TRIGGER transfers_final ON transfers")
    op.execute(_final(condition))
    op.execute("ALTER TABLE transfers ENABLE ALWAYS TRIGGER transfers_final")


def _know_stages(processing: tuple[str, ...]) -> None:
    listed = ", ".join(f"'{stage}'" for stage in processing)
    op.drop_constraint("transfers_stage_of_state", "transfers")
    op.create_check_constraint(
        "transfers_stage_of_state",
        "transfers",
        f"(state = 'PROCESSING' AND stage IN ({listed}))"
        " OR (state = 'SUCCESS' AND stage = 'COMPLETED')"
        " OR (state = 'FAILED' AND stage = 'FAILED')",
    )
    op.drop_constraint("transfer_events_stage_known", "transfer_events")
    op.create_check_constraint(
        "transfer_events_stage_known",
        "transfer_events",
        f"stage IN ({listed}, 'COMPLETED', 'FAILED')",
    )


def _time(name: str, *, nullable: bool = True, default: str | None = None) -> sa.Column[object]:
    return sa.Column(
        name,
        sa.DateTime(timezone=True),
        nullable=nullable,
        server_default=sa.text(default) if default else None,
    )


def _amount(name: str, *, comment: str | None = None) -> sa.Column[object]:
    return sa.Column(name, sa.Numeric(38, 0), nullable=True, comment=comment)


def _uuid(name: str, *, nullable: bool = False, comment: str | None = None) -> sa.Column[object]:
    return sa.Column(name, sa.Uuid(), nullable=nullable, comment=comment)


def _add_columns() -> None:
    nothing = sa.text("0")
    for column in (
        _amount("captured_minor", comment="null: captures itself, as a whole"),
        sa.Column("reversed_minor", sa.Numeric(38, 0), nullable=False, server_default=nothing),
        _time("expires_at"),
        _time("execute_at"),
        _time("approval_deadline_at"),
        sa.Column("approvals_required", sa.SmallInteger(), nullable=True),
        sa.Column(
            "leg_count", sa.SmallInteger(), nullable=True, comment="null: the one of this row"
        ),
        _uuid("requested_by", nullable=True, comment="API key"),
    ):
        op.add_column("transfers", column)
    op.create_check_constraint(
        "transfers_captured_range", "transfers", "captured_minor BETWEEN 0 AND amount_minor"
    )
    op.create_check_constraint(
        "transfers_reversed_range",
        "transfers",
        "reversed_minor BETWEEN 0 AND coalesce(captured_minor, amount_minor)"
        " AND (reversed_minor = 0 OR state = 'SUCCESS')",
    )
    op.create_check_constraint(
        "transfers_approval_whole",
        "transfers",
        "(approvals_required IS NULL) = (approval_deadline_at IS NULL)"
        " AND approvals_required BETWEEN 1 AND 2",
    )
    op.create_check_constraint("transfers_several_legs", "transfers", "leg_count >= 2")
    op.add_column("transfer_events", sa.Column("details", postgresql.JSONB(), nullable=True))
    op.add_column(
        "holds",
        sa.Column(
            "captured_minor",
            sa.Numeric(38, 0),
            nullable=False,
            server_default=nothing,
            comment="by manual captures",
        ),
    )
    op.create_check_constraint(
        "holds_captured_range", "holds", "captured_minor BETWEEN 0 AND amount_minor"
    )


def _create_tables() -> None:
    _create_legs()
    _create_operations()
    _create_approval_rules()
    _create_limits()


def _create_legs() -> None:
    op.create_table(
        "transfer_legs",
        _uuid("transfer_id"),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        _uuid("tenant_id"),
        _uuid("source_account_id"),
        _uuid("destination_account_id"),
        sa.Column("amount_minor", sa.Numeric(38, 0), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("transfer_id", "position", name="transfer_legs_pkey"),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfers.id"], name="transfer_legs_transfer"),
        *(
            sa.ForeignKeyConstraint(
                [f"{side}_account_id", "tenant_id", "currency"],
                ["accounts.id", "accounts.tenant_id", "accounts.currency"],
                name=f"transfer_legs_{side}",
            )
            for side in ("source", "destination")
        ),
        sa.CheckConstraint("position BETWEEN 1 AND 100", name="transfer_legs_position_range"),
        sa.CheckConstraint(
            "source_account_id <> destination_account_id", name="transfer_legs_two_accounts"
        ),
        sa.CheckConstraint(
            f"amount_minor BETWEEN 1 AND {AMOUNT_MAXIMUM}", name="transfer_legs_amount_range"
        ),
    )
    for side in ("source", "destination"):
        op.create_index(
            f"transfer_legs_by_{side}", "transfer_legs", [f"{side}_account_id", "transfer_id"]
        )


def _create_operations() -> None:
    op.create_table(
        "transfer_operations",
        _uuid("tenant_id"),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        _uuid("transfer_id"),
        sa.Column("operation", sa.Text(), nullable=False),
        _amount("amount_minor"),
        sa.Column("note", sa.Text(), nullable=True),
        _uuid("requested_by", comment="API key"),
        sa.Column(
            "result", postgresql.JSONB(), nullable=False, comment="the transfer right after it"
        ),
        _time("created_at", nullable=False, default="statement_timestamp()"),
        sa.PrimaryKeyConstraint("tenant_id", "idempotency_key", name="transfer_operations_pkey"),
        sa.ForeignKeyConstraint(
            ["tenant_id", "idempotency_key"],
            ["idempotency_keys.tenant_id", "idempotency_keys.key"],
            name="transfer_operations_key_claimed",
        ),
        sa.ForeignKeyConstraint(
            ["transfer_id"], ["transfers.id"], name="transfer_operations_transfer"
        ),
        sa.CheckConstraint(
            "operation IN ('capture', 'extend', 'cancel', 'approve', 'reject')",
            name="transfer_operations_known",
        ),
        sa.CheckConstraint(
            "(operation = 'capture') = (amount_minor IS NOT NULL)"
            f" AND amount_minor BETWEEN 0 AND {AMOUNT_MAXIMUM}",
            name="transfer_operations_amount",
        ),
    )
    op.create_index(
        "transfer_operations_of_transfer", "transfer_operations", ["transfer_id", "created_at"]
    )
    op.create_index(
        "transfer_operations_approver",
        "transfer_operations",
        ["transfer_id", "requested_by"],
        unique=True,
        postgresql_where=sa.text("operation IN ('approve', 'reject')"),
    )


def _create_approval_rules() -> None:
    op.create_table(
        "approval_rules",
        _uuid("id"),
        _uuid("tenant_id"),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("threshold_minor", sa.Numeric(38, 0), nullable=False, comment="applies above it"),
        sa.Column("approvers", sa.SmallInteger(), nullable=False),
        sa.Column("deadline_seconds", sa.Integer(), nullable=False),
        _time("created_at", nullable=False, default="now()"),
        _uuid("created_by", nullable=True, comment="API key"),
        _time("retired_at"),
        sa.PrimaryKeyConstraint("id", name="approval_rules_pkey"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="approval_rules_tenant"),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name="approval_rules_currency_code"),
        sa.CheckConstraint(
            f"threshold_minor BETWEEN 0 AND {AMOUNT_MAXIMUM}", name="approval_rules_threshold"
        ),
        sa.CheckConstraint("approvers BETWEEN 1 AND 2", name="approval_rules_approvers"),
        sa.CheckConstraint(
            "deadline_seconds BETWEEN 1 AND 2678400", name="approval_rules_deadline"
        ),
    )
    op.create_index(
        "approval_rules_in_force",
        "approval_rules",
        ["tenant_id", "currency", "threshold_minor"],
        unique=True,
        postgresql_where=sa.text("retired_at IS NULL"),
    )


def _create_limits() -> None:
    periods = ("transfer", "day", "month")
    op.create_table(
        "account_limits",
        _uuid("account_id"),
        _uuid("tenant_id"),
        *(_amount(f"per_{period}_minor") for period in periods),
        _time("updated_at", nullable=False, default="now()"),
        _uuid("updated_by", nullable=True, comment="API key"),
        sa.PrimaryKeyConstraint("account_id", name="account_limits_pkey"),
        sa.ForeignKeyConstraint(
            ["tenant_id", "account_id"],
            ["accounts.tenant_id", "accounts.id"],
            name="account_limits_account",
        ),
        sa.CheckConstraint(
            " AND ".join(
                f"per_{period}_minor BETWEEN 0 AND {AMOUNT_MAXIMUM}" for period in periods
            ),
            name="account_limits_range",
        ),
    )
    op.create_table(
        "account_usage",
        _uuid("account_id"),
        _uuid("tenant_id"),
        sa.Column("day", sa.Date(), nullable=False, comment="in UTC, of the reserve"),
        sa.Column("used_minor", sa.Numeric(38, 0), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "day", name="account_usage_pkey"),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account_limits.account_id"], name="account_usage_limits"
        ),
        sa.CheckConstraint("used_minor >= 0", name="account_usage_not_negative"),
    )
