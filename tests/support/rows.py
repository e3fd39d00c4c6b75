"""What stands in a tenant's tables."""

import psycopg
from psycopg import sql

from domain.ids import TenantId
from persistence.tables.schema import metadata

TABLES = tuple(
    table.name
    for table in metadata.sorted_tables
    if "tenant_id" in table.columns and table.name != "api_keys"
)
TABLE = """
SELECT {name}, count(*), md5(coalesce(string_agg(row::text, '' ORDER BY row::text), ''))
FROM {table} AS row WHERE tenant_id = %(tenant)s
"""

TenantRows = dict[str, tuple[int, str]]
"""By table: how many rows there are, and a digest that tells whether any has changed."""


async def rows_of_tenant(database_url: str, tenant_id: TenantId) -> TenantRows:
    tables = [
        sql.SQL(TABLE).format(name=sql.Literal(name), table=sql.Identifier(name)) for name in TABLES
    ]
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        found = await connection.execute(sql.SQL(" UNION ALL ").join(tables), {"tenant": tenant_id})
        return {name: (count, digest) async for name, count, digest in found}


async def counts_of_tenant(database_url: str, tenant_id: TenantId) -> dict[str, int]:
    """Count a tenant's rows, by table."""
    rows = await rows_of_tenant(database_url, tenant_id)
    return {name: count for name, (count, _digest) in rows.items()}
