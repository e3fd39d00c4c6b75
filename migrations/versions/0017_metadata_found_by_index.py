"""Find a tenant's transfers by their metadata from the index that is there for it.

Behind row-level security ``@>`` is not let to the index, for it is not leakproof: the search read
the tenant's transfers one by one. The function looks behind the fence, and gives no other tenant's.
Adds a function only.
"""

from alembic import op

from migrations.guards import set_timeouts

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

# OFFSET 0 keeps the tenant out of the inner query, so that the index on the metadata is the only
# one that fits it.
FUNCTION = """
CREATE FUNCTION transfers_with_metadata(wanted jsonb, maximum integer) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp SET enable_seqscan = off
AS $$
SELECT id FROM (
    SELECT id, tenant_id FROM transfers
    WHERE metadata @> wanted AND metadata <> '{}'::jsonb OFFSET 0
) AS found
WHERE tenant_id = (SELECT nullif(current_setting('transfers.tenant_id', true), '')::uuid)
LIMIT maximum
$$
"""


def upgrade() -> None:
    """Bring the schema up to this revision."""
    set_timeouts()
    op.execute(FUNCTION)
    op.execute("REVOKE EXECUTE ON FUNCTION transfers_with_metadata FROM PUBLIC")


def downgrade() -> None:
    """Take the schema back to the revision before."""
    set_timeouts()
    op.execute("DROP FUNCTION transfers_with_metadata")
