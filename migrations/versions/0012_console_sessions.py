"""Sessions of the operators' console, and an index to find transfers by their metadata."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.guards import set_timeouts

revision = "0012"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema up to this revision."""
    set_timeouts()
    op.create_table(
        "console_sessions",
        sa.Column(
            "token_hash", sa.LargeBinary(), nullable=False, comment="SHA-256 of the cookie's token"
        ),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("api_key_id", sa.Uuid(), nullable=False),
        sa.Column("viewed_tenant_id", sa.Uuid(), nullable=False),
        sa.Column(
            "scopes",
            postgresql.ARRAY(sa.Text()),
            nullable=True,
            comment="of a token; null: those of the key",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.func.now(),
        ),
        sa.Column(
            "last_used_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.func.now(),
        ),
        sa.PrimaryKeyConstraint("token_hash", name="console_sessions_pkey"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="console_sessions_tenant"),
        sa.ForeignKeyConstraint(["api_key_id"], ["api_keys.id"], name="console_sessions_api_key"),
        sa.ForeignKeyConstraint(
            ["viewed_tenant_id"], ["tenants.id"], name="console_sessions_viewed_tenant"
        ),
        sa.CheckConstraint(
            "octet_length(token_hash) = 32", name="console_sessions_token_hash_length"
        ),
    )
    op.create_index(
        "transfers_metadata",
        "transfers",
        ["metadata"],
        postgresql_using="gin",
        postgresql_ops={"metadata": "jsonb_path_ops"},
        postgresql_where=sa.text("metadata <> '{}'::jsonb"),
    )


def downgrade() -> None:
    """Take the schema back to the revision before."""
    set_timeouts()
    op.drop_index("transfers_metadata", table_name="transfers")
    op.drop_table("console_sessions")
