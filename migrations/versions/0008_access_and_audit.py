"""Who changed what: the audit log; keys that end, are rotated and limited; subjects of an issuer.

Adds only: the code of the revision before works on this schema too.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.guards import set_timeouts

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ACTOR_KINDS = ("api_key", "operator", "oidc", "cli", "system")
REQUESTS_PER_SECOND_MAXIMUM = 100_000

KEY_COLUMNS = (
    ("expires_at", sa.DateTime(timezone=True), None),
    ("previous_secret_hash", sa.LargeBinary(), "of the secret before the last rotation"),
    ("previous_expires_at", sa.DateTime(timezone=True), None),
    ("rotated_at", sa.DateTime(timezone=True), None),
    ("requests_per_second", sa.Integer(), "null: the default"),
    ("requests_burst", sa.Integer(), "null: the default"),
    ("issuer", sa.Text(), "of a subject: who vouches for it"),
    ("subject", sa.Text(), "as its issuer names it"),
)
KEY_CHECKS = {
    "api_keys_identity": "(secret_hash IS NULL) = (subject IS NOT NULL)"
    " AND (issuer IS NULL) = (subject IS NULL)",
    "api_keys_rotation": "(previous_secret_hash IS NULL) = (previous_expires_at IS NULL)"
    " AND (previous_secret_hash IS NULL OR secret_hash IS NOT NULL)"
    " AND octet_length(previous_secret_hash) = 32",
    "api_keys_rate": "(requests_per_second IS NULL) = (requests_burst IS NULL)"
    f" AND requests_per_second BETWEEN 1 AND {REQUESTS_PER_SECOND_MAXIMUM}"
    f" AND requests_burst BETWEEN 1 AND {REQUESTS_PER_SECOND_MAXIMUM}",
}
KEY_UNIQUES = {
    "api_keys_previous_secret_hash": ["previous_secret_hash"],
    "api_keys_subject": ["tenant_id", "issuer", "subject"],
}


def upgrade() -> None:
    """Bring the schema up to this revision."""
    set_timeouts()
    _make_audit_log()
    for name, kind, comment in KEY_COLUMNS:
        op.add_column("api_keys", sa.Column(name, kind, nullable=True, comment=comment))
    op.alter_column("api_keys", "secret_hash", nullable=True)
    for name, condition in KEY_CHECKS.items():
        op.create_check_constraint(name, "api_keys", condition)
    for name, columns in KEY_UNIQUES.items():
        op.create_unique_constraint(name, "api_keys", columns)


def _make_audit_log() -> None:
    kinds = ", ".join(f"'{kind}'" for kind in ACTOR_KINDS)
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=True, comment="null: of no tenant"),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.func.now(),
        ),
        sa.Column("actor_kind", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Text(), nullable=True),
        sa.Column("actor_name", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject_type", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("source_address", sa.Text(), nullable=True),
        sa.Column(
            "details",
            postgresql.JSONB(),
            nullable=False,
            server_default=sa.text("'{}'::jsonb"),
        ),
        sa.PrimaryKeyConstraint("id", name="audit_log_pkey"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="audit_log_tenant"),
        sa.CheckConstraint(f"actor_kind IN ({kinds})", name="audit_log_actor_known"),
        sa.CheckConstraint("action ~ '^[a-z_]+[.][a-z_]+$'", name="audit_log_action_shape"),
        sa.CheckConstraint("jsonb_typeof(details) = 'object'", name="audit_log_details_object"),
    )
    op.create_index("audit_log_of_tenant", "audit_log", ["tenant_id", "id"])
    op.create_index("audit_log_of_subject", "audit_log", ["subject_type", "subject_id", "id"])
    op.execute(
        "CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    op.execute("ALTER TABLE audit_log ENABLE ALWAYS TRIGGER audit_log_append_only")


def downgrade() -> None:
    """Take the schema back to the revision before. Subjects of an issuer are forgotten."""
    set_timeouts()
    for name in KEY_UNIQUES:
        op.drop_constraint(name, "api_keys", type_="unique")
    for name in KEY_CHECKS:
        op.drop_constraint(name, "api_keys", type_="check")
    op.execute("DELETE FROM api_keys WHERE secret_hash IS NULL")
    op.alter_column("api_keys", "secret_hash", nullable=False)
    for name, _, _ in KEY_COLUMNS:
        op.drop_column("api_keys", name)
    op.drop_table("audit_log")
