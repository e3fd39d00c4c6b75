"""Samples of what no record tells afterwards: what was under way, stuck, held and proved, and when.

Adds tables only. Nothing that a transfer writes is touched.
"""

import sqlalchemy as sa
from alembic import op

from migrations.guards import fence, set_timeouts

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

OF_TENANTS = ("tenant_samples", "held_samples")


def upgrade() -> None:
    """Bring the schema up to this revision."""
    set_timeouts()
    op.create_table(
        "service_samples",
        _slot(),
        sa.Column("stuck", sa.Integer(), nullable=True, comment="null: not known"),
        sa.Column("is_stuck_whole", sa.Boolean(), nullable=True, comment="false: at least"),
        sa.Column("violations", sa.Integer(), nullable=False),
        sa.Column(
            "proof_age_seconds",
            sa.Integer(),
            nullable=True,
            comment="of the oldest last proof; null: one was not proved yet",
        ),
        sa.PrimaryKeyConstraint("slot_at", name="service_samples_pkey"),
        sa.CheckConstraint(
            "(stuck IS NULL) = (is_stuck_whole IS NULL)", name="service_samples_stuck_known"
        ),
        sa.CheckConstraint(
            "stuck >= 0 AND violations >= 0 AND proof_age_seconds >= 0",
            name="service_samples_not_negative",
        ),
    )
    op.create_table(
        "tenant_samples",
        _slot(),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("in_flight", sa.Integer(), nullable=False),
        sa.Column("stuck", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "slot_at", name="tenant_samples_pkey"),
        *_references("tenant_samples"),
        sa.CheckConstraint("in_flight >= 0 AND stuck >= 0", name="tenant_samples_not_negative"),
    )
    op.create_table(
        "held_samples",
        _slot(),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("held_minor", sa.Numeric(38, 0), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "slot_at", "currency", name="held_samples_pkey"),
        *_references("held_samples"),
        sa.CheckConstraint("held_minor >= 0", name="held_samples_not_negative"),
    )
    for table in OF_TENANTS:
        # By which samples go with their slot.
        op.create_index(f"{table}_of_slot", table, ["slot_at"])
        fence(table)


def downgrade() -> None:
    """Take the schema back to the revision before."""
    set_timeouts()
    for table in (*OF_TENANTS, "service_samples"):
        op.drop_table(table)


def _slot() -> sa.Column[object]:
    return sa.Column("slot_at", sa.DateTime(timezone=True), nullable=False)


def _references(table: str) -> tuple[sa.ForeignKeyConstraint, sa.ForeignKeyConstraint]:
    return (
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=f"{table}_tenant"),
        sa.ForeignKeyConstraint(
            ["slot_at"], ["service_samples.slot_at"], name=f"{table}_slot", ondelete="CASCADE"
        ),
    )
