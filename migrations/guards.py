"""Bounds that every migration sets before it touches anything."""

from typing import Final

import sqlalchemy as sa
from alembic import op

LOCK_TIMEOUT_SECONDS: Final = 5
"""A migration that cannot have its locks gives up, so that traffic does not queue behind it."""

STATEMENT_TIMEOUT_SECONDS: Final = 60


def set_timeouts() -> None:
    """Bound the locks and statements of this migration's transaction."""
    op.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'")
    op.execute(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT_SECONDS}s'")


def fence(table: str) -> None:
    """Show a table's rows to their tenant alone, as every table with a tenant must.

    Notes
    -----
    The owner of the table is not held by it.
    """
    column = "id" if table == "tenants" else "tenant_id"
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    # In a sub-select, the setting is read once a statement and not once a row.
    op.execute(
        f"CREATE POLICY {table}_of_tenant ON {table} USING ({column} ="
        " (SELECT nullif(current_setting('transfers.tenant_id', true), '')::uuid))"
    )


def remove_fence(table: str) -> None:
    """Take back ``fence``."""
    op.execute(f"DROP POLICY {table}_of_tenant ON {table}")
    op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")


def tables_of_tenants() -> list[str]:
    """Name the tables that there are by now and whose rows belong to a tenant."""
    found = op.get_bind().execute(
        sa.text(
            "SELECT 'tenants' UNION SELECT table_name FROM information_schema.columns"
            " WHERE table_schema = 'public' AND column_name = 'tenant_id' ORDER BY 1"
        )
    )
    return list(found.scalars())
