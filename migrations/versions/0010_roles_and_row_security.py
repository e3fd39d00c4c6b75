"""Show each tenant's rows to that tenant alone, as a second fence behind every WHERE clause.

The owner of the tables is not held by it. Who may do what stands in ``persistence.privileges``, and
is granted at the end of each ``transfers migrate``. A later migration that adds a table calls
``migrations.guards.fence`` for it.
"""

from alembic import op

from migrations.guards import fence, remove_fence, set_timeouts, tables_of_tenants

revision = "0010"
down_revision = "0007"
branch_labels = None
depends_on = None

# Whose a key is, is asked before its tenant is known. By the hash of the whole key alone, so that
# nothing can be listed through it.
API_KEY_OF = """
CREATE FUNCTION api_key_of(hash bytea) RETURNS SETOF api_keys
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$ SELECT * FROM api_keys WHERE secret_hash = hash $$
"""


def upgrade() -> None:
    """Bring the schema up to this revision."""
    set_timeouts()
    op.execute(API_KEY_OF)
    op.execute("REVOKE EXECUTE ON FUNCTION api_key_of(bytea) FROM PUBLIC")
    for table in tables_of_tenants():
        fence(table)


def downgrade() -> None:
    """Take the schema back to the revision before."""
    set_timeouts()
    for table in tables_of_tenants():
        remove_fence(table)
    op.execute("DROP FUNCTION api_key_of(bytea)")
