"""The same rules at less cost for every step of a transfer.

What a transfer may not change is judged by the trigger's condition, without a call, and a change of
stage within PROCESSING touches no index, so that PostgreSQL can write the row's new version beside
the old one.
"""

import sqlalchemy as sa
from alembic import op

from migrations.guards import set_timeouts

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

FIXED_COLUMNS = (
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


def _row(name: str) -> str:
    return f"({', '.join(f'{name}.{column}' for column in FIXED_COLUMNS)})"


REFUSE_FINAL_CHANGE = """
CREATE OR REPLACE FUNCTION refuse_final_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'transfer % is % and cannot change', OLD.id, OLD.state
        USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
END
$$
"""

TRIGGERS = {
    "transfers_final": f"""
CREATE TRIGGER transfers_final BEFORE UPDATE ON transfers FOR EACH ROW
WHEN (OLD.state <> 'PROCESSING' OR {_row("NEW")} IS DISTINCT FROM {_row("OLD")})
EXECUTE FUNCTION refuse_final_change()
""",
    "transfers_kept": """
CREATE TRIGGER transfers_kept BEFORE DELETE ON transfers
FOR EACH ROW EXECUTE FUNCTION refuse_final_change()
""",
}

EARLIER_REFUSE_FINAL_CHANGE = f"""
CREATE OR REPLACE FUNCTION refuse_final_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.state <> 'PROCESSING'
        OR {_row("NEW")} IS DISTINCT FROM {_row("OLD")}
    THEN
        RAISE EXCEPTION 'transfer % is % and cannot change', OLD.id, OLD.state
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
END
$$
"""

EARLIER_TRIGGER = """
CREATE TRIGGER transfers_final BEFORE UPDATE OR DELETE ON transfers
FOR EACH ROW EXECUTE FUNCTION refuse_final_change()
"""


def upgrade() -> None:
    """Bring the schema up to this revision."""
    set_timeouts()
    op.execute("DROP TRIGGER transfers_final ON transfers")
    op.execute(REFUSE_FINAL_CHANGE)
    for trigger, definition in TRIGGERS.items():
        op.execute(definition)
        op.execute(f"ALTER TABLE transfers ENABLE ALWAYS TRIGGER {trigger}")
    _index_processing("id")


def downgrade() -> None:
    """Take the schema back to the revision before."""
    set_timeouts()
    for trigger in TRIGGERS:
        op.execute(f"DROP TRIGGER {trigger} ON transfers")
    op.execute(EARLIER_REFUSE_FINAL_CHANGE)
    op.execute(EARLIER_TRIGGER)
    op.execute("ALTER TABLE transfers ENABLE ALWAYS TRIGGER transfers_final")
    _index_processing("updated_at", "id")


def _index_processing(*columns: str) -> None:
    op.drop_index("transfers_processing", table_name="transfers")
    op.create_index(
        "transfers_processing",
        "transfers",
        list(columns),
        postgresql_where=sa.text("state = 'PROCESSING'"),
    )
