"""Show each tenant's rows to that tenant alone, as a second fence behind every WHERE clause.

The owner of the tables is not held by it. Who may do what stands in ``persistence.privileges``, and
is granted at the end of each ``transfers migrate``. A later migration that adds a table calls
``migrations.guards.fence`` for it.
"""

from alembic import op

from migrations.guards import fence, remove_fence, set_timeouts, tables_of_tenants

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# Who calls, is asked before the caller's tenant is known. By the hash of the whole key alone, and
# by all that names a subject, so that nothing can be listed through them.
LOOK_UPS = {
    "api_key_of": (
        "(hash bytea) RETURNS SETOF api_keys",
        "SELECT * FROM api_keys WHERE secret_hash = hash",
    ),
    "api_key_in_overlap_of": (
        "(hash bytea) RETURNS SETOF api_keys",
        "SELECT * FROM api_keys WHERE previous_secret_hash = hash AND previous_expires_at > now()",
    ),
    "api_subject_of": (
        (
            "(tenant_name text, key_issuer text, key_subject text) RETURNS TABLE (tenant_id uuid,"
            " id uuid, is_revoked boolean, requests_per_second integer, requests_burst integer)"
        ),
        (
            "SELECT tenant.id, key.id, key.revoked_at IS NOT NULL, key.requests_per_second,"
            " key.requests_burst FROM tenants AS tenant LEFT JOIN"
            " api_keys AS key ON key.tenant_id = tenant.id AND key.issuer = key_issuer"
            " AND key.subject = key_subject WHERE tenant.name = tenant_name"
        ),
    ),
}


def upgrade() -> None:
    """Bring the schema up to this revision."""
    set_timeouts()
    for name, (signature, body) in LOOK_UPS.items():
        op.execute(
            f"CREATE FUNCTION {name}{signature} LANGUAGE sql STABLE SECURITY DEFINER"
            f" SET search_path = pg_catalog, public, pg_temp AS $$ {body} $$"
        )
        op.execute(f"REVOKE EXECUTE ON FUNCTION {name} FROM PUBLIC")
    for table in tables_of_tenants():
        fence(table)


def downgrade() -> None:
    """Take the schema back to the revision before."""
    set_timeouts()
    for table in tables_of_tenants():
        remove_fence(table)
    for name in LOOK_UPS:
        op.execute(f"DROP FUNCTION {name}")
