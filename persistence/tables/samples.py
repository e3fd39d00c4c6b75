"""Samples of what no record tells afterwards. A tenant of which nothing was under way has none."""

from typing import Any, Final

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
)

from persistence.tables.columns import (
    MinorUnits,
    currency_column,
    metadata,
    tenant_id_column,
    time_column,
)


def _slot_column() -> Column[Any]:
    """Declare when the time began that a sample stands for."""
    return time_column("slot_at", nullable=False)


def _references(table: str) -> tuple[ForeignKeyConstraint, ForeignKeyConstraint]:
    return (
        ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=f"{table}_tenant"),
        ForeignKeyConstraint(
            ["slot_at"], ["service_samples.slot_at"], name=f"{table}_slot", ondelete="CASCADE"
        ),
    )


service_samples: Final = Table(
    "service_samples",
    metadata,
    _slot_column(),
    Column("stuck", Integer, nullable=True, comment="null: not known"),
    Column("is_stuck_whole", Boolean, nullable=True, comment="false: at least"),
    Column("violations", Integer, nullable=False),
    Column(
        "proof_age_seconds",
        Integer,
        nullable=True,
        comment="of the oldest last proof; null: one was not proved yet",
    ),
    PrimaryKeyConstraint("slot_at", name="service_samples_pkey"),
    CheckConstraint(
        "(stuck IS NULL) = (is_stuck_whole IS NULL)", name="service_samples_stuck_known"
    ),
    CheckConstraint(
        "stuck >= 0 AND violations >= 0 AND proof_age_seconds >= 0",
        name="service_samples_not_negative",
    ),
)

tenant_samples: Final = Table(
    "tenant_samples",
    metadata,
    _slot_column(),
    tenant_id_column(),
    Column("in_flight", Integer, nullable=False),
    Column("stuck", Integer, nullable=False),
    PrimaryKeyConstraint("tenant_id", "slot_at", name="tenant_samples_pkey"),
    *_references("tenant_samples"),
    CheckConstraint("in_flight >= 0 AND stuck >= 0", name="tenant_samples_not_negative"),
    Index("tenant_samples_of_slot", "slot_at"),
)

held_samples: Final = Table(
    "held_samples",
    metadata,
    _slot_column(),
    tenant_id_column(),
    currency_column(),
    Column("held_minor", MinorUnits, nullable=False),
    PrimaryKeyConstraint("tenant_id", "slot_at", "currency", name="held_samples_pkey"),
    *_references("held_samples"),
    CheckConstraint("held_minor >= 0", name="held_samples_not_negative"),
    Index("held_samples_of_slot", "slot_at"),
)
