"""Seals over the ledger, and how far its continuous proof has come.

Adds tables only. Nothing that a transfer writes is touched.
"""

import sqlalchemy as sa
from alembic import op

from migrations.guards import set_timeouts

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

APPEND_ONLY = ("ledger_seals", "ledger_seal_segments")


def upgrade() -> None:
    """Bring the schema up to this revision."""
    set_timeouts()
    _create_seals()
    _create_proofs()
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_append_only")
    # Hashes do not get smaller: each try to compress them would be lost.
    op.execute("ALTER TABLE ledger_seal_segments ALTER COLUMN records SET STORAGE EXTERNAL")


def downgrade() -> None:
    """Take the schema back to the revision before."""
    set_timeouts()
    for table in ("ledger_violations", "ledger_proofs", "ledger_seal_segments", "ledger_seals"):
        op.drop_table(table)


def _time(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _hash(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.LargeBinary(), nullable=False)


def _create_seals() -> None:
    op.create_table(
        "ledger_seals",
        sa.Column("number", sa.BigInteger(), nullable=False, autoincrement=False),
        _hash("previous_hash"),
        _hash("root"),
        sa.Column("segments", sa.Integer(), nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column(
            "position", sa.BigInteger(), nullable=False, comment="entries of this and all before"
        ),
        _time("sealed_at"),
        _hash("hash"),
        sa.PrimaryKeyConstraint("number", name="ledger_seals_pkey"),
        sa.UniqueConstraint("previous_hash", name="ledger_seals_previous"),
        sa.CheckConstraint("number >= 1", name="ledger_seals_number_positive"),
        sa.CheckConstraint(
            "segments >= 1 AND entries >= segments AND position >= entries",
            name="ledger_seals_counted",
        ),
        sa.CheckConstraint(
            "octet_length(previous_hash) = 32 AND octet_length(root) = 32"
            " AND octet_length(hash) = 32",
            name="ledger_seals_hash_length",
        ),
    )
    op.create_table(
        "ledger_seal_segments",
        sa.Column("seal_number", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("first_sequence", sa.BigInteger(), nullable=False),
        sa.Column("last_sequence", sa.BigInteger(), nullable=False),
        sa.Column(
            "records",
            sa.LargeBinary(),
            nullable=False,
            comment="of each entry its id, its digest, its transfer's digest",
        ),
        _hash("digest"),
        sa.PrimaryKeyConstraint("account_id", "first_sequence", name="ledger_seal_segments_pkey"),
        sa.UniqueConstraint("seal_number", "account_id", name="ledger_seal_segments_of_seal"),
        # The seal's hash is known when its segments are, and is written after them.
        sa.ForeignKeyConstraint(
            ["seal_number"],
            ["ledger_seals.number"],
            name="ledger_seal_segments_seal",
            deferrable=True,
            initially="DEFERRED",
        ),
        sa.CheckConstraint(
            "first_sequence >= 1 AND last_sequence >= first_sequence"
            " AND octet_length(records) = 80 * (last_sequence - first_sequence + 1)",
            name="ledger_seal_segments_records",
        ),
        sa.CheckConstraint("octet_length(digest) = 32", name="ledger_seal_segments_digest_length"),
    )


def _create_proofs() -> None:
    op.create_table(
        "ledger_proofs",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("position", sa.Text(), nullable=True, comment="null: at the beginning"),
        _time("pass_began_at"),
        sa.Column("examined", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        _time("advanced_at"),
        _time("completed_at", nullable=True),
        sa.Column("completed_examined", sa.BigInteger(), nullable=True),
        sa.Column("remaining", sa.BigInteger(), nullable=True, comment="entries left unsealed"),
        sa.PrimaryKeyConstraint("name", name="ledger_proofs_pkey"),
    )
    op.create_table(
        "ledger_violations",
        sa.Column("proof", sa.Text(), nullable=False),
        sa.Column("invariant", sa.SmallInteger(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        _time("first_seen_at"),
        _time("last_seen_at"),
        _time("resolved_at", nullable=True),
        sa.PrimaryKeyConstraint("proof", "invariant", "subject", name="ledger_violations_pkey"),
    )
