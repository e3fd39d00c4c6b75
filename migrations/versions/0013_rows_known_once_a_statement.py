"""Judge once a statement what keys, events and rows of batches refer to.

As revision 0006 does for entries and transfers, and for the same reason: a foreign key is looked up
row by row by a statement of its own, which is a tenth of what a row of a batch costs.
"""

from alembic import op

from migrations.guards import set_timeouts

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

# Table, column, what it refers to, and the name of the foreign key that it stands for.
REFERENCES = (
    ("idempotency_keys", "tenant_id", "tenants", "idempotency_keys_tenant"),
    ("transfer_events", "transfer_id", "transfers", "transfer_events_transfer"),
    ("transfer_batch_rows", "batch_id", "transfer_batches", "transfer_batch_rows_batch"),
)

TENANTS_KEPT = """
CREATE TRIGGER tenants_kept BEFORE DELETE OR UPDATE OF id ON tenants
FOR EACH ROW EXECUTE FUNCTION refuse_loss()
"""
TENANTS_NOT_TRUNCATED = """
CREATE TRIGGER tenants_not_truncated BEFORE TRUNCATE ON tenants
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
"""


def upgrade() -> None:
    """Bring the schema up to this revision."""
    set_timeouts()
    for trigger, definition in (
        ("tenants_kept", TENANTS_KEPT),
        ("tenants_not_truncated", TENANTS_NOT_TRUNCATED),
    ):
        op.execute(definition)
        op.execute(f"ALTER TABLE tenants ENABLE ALWAYS TRIGGER {trigger}")
    for table, column, referred, rule in REFERENCES:
        op.execute(_function(table, column, referred, rule))
        op.execute(
            f"CREATE TRIGGER {table}_known AFTER INSERT ON {table} REFERENCING NEW TABLE AS added"
            f" FOR EACH STATEMENT EXECUTE FUNCTION require_known_{table}()"
        )
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_known")
        op.drop_constraint(rule, table)


def downgrade() -> None:
    """Take the schema back to the revision before."""
    set_timeouts()
    for table, column, referred, rule in REFERENCES:
        op.execute(f"DROP TRIGGER {table}_known ON {table}")
        op.execute(f"DROP FUNCTION require_known_{table}()")
        op.create_foreign_key(rule, table, referred, [column], ["id"])
    op.execute("DROP TRIGGER tenants_kept ON tenants")
    op.execute("DROP TRIGGER tenants_not_truncated ON tenants")


def _function(table: str, column: str, referred: str, rule: str) -> str:
    # Looked up one by one, for a join may be planned to read a whole table.
    return f"""
CREATE FUNCTION require_known_{table}() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong uuid;
BEGIN
    SELECT given.{column} INTO wrong
    FROM (SELECT DISTINCT {column} FROM added) AS given
    WHERE (SELECT id FROM {referred} WHERE id = given.{column}) IS NULL
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% is not in {referred}', wrong
            USING ERRCODE = 'foreign_key_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = '{rule}';
    END IF;
    RETURN NULL;
END
$$
"""  # noqa: S608 - names of this file
