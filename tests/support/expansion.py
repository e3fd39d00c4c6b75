"""What a migration takes away from code that is a version older."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import psycopg

COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
    a.atthasdef OR a.attidentity <> ''
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
    AND a.attnum > 0 AND NOT a.attisdropped AND c.relname <> 'alembic_version'
"""
# Checks, foreign and unique keys and exclusions; unique indexes refuse rows as constraints do.
RULES = """
SELECT c.relname, k.conname, pg_get_constraintdef(k.oid),
    ARRAY(SELECT attname::text FROM pg_attribute
        WHERE attrelid = c.oid AND attnum = ANY (k.conkey))
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
WHERE k.connamespace = 'public'::regnamespace AND k.contype IN ('c', 'f', 'u', 'x', 'p')
UNION ALL
SELECT c.relname, i.relname, pg_get_indexdef(i.oid),
    ARRAY(SELECT attname::text FROM pg_attribute
        WHERE attrelid = c.oid AND attnum = ANY (x.indkey::int2[]))
FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid
WHERE c.relnamespace = 'public'::regnamespace AND x.indisunique AND c.relname <> 'alembic_version'
"""


@dataclass(frozen=True, slots=True)
class Column:
    type: str
    is_required: bool
    has_default: bool


@dataclass(frozen=True, slots=True)
class Schema:
    """Columns by table and name; rules by table and definition, with the columns they are about."""

    columns: Mapping[tuple[str, str], Column]
    rules: Mapping[tuple[str, str], frozenset[str]]

    @property
    def tables(self) -> set[str]:
        return {table for table, _ in self.columns}


def read_schema(database_url: str) -> Schema:
    with psycopg.connect(database_url) as connection:
        columns = connection.execute(COLUMNS).fetchall()
        rules = connection.execute(RULES).fetchall()
    return Schema(
        {(table, name): Column(*rest) for table, name, *rest in columns},
        {(table, f"{name}: {text}"): frozenset(about) for table, name, text, about in rules},
    )


def contractions(before: Schema, after: Schema) -> list[str]:
    """Say what older code loses: tables, columns, kinds of values, and rows that were allowed.

    Rules that are about new columns alone, or beside old ones, are the newer code's own business:
    older code leaves these columns as they are by default.
    """
    return [*_lost(before, after), *_demanded(before, after)]


def _lost(before: Schema, after: Schema) -> Iterator[str]:
    for table in sorted(before.tables - after.tables):
        yield f"table {table} is gone"
    for (table, name), old in before.columns.items():
        new = after.columns.get((table, name))
        if new is not None and new.type != old.type:
            yield f"column {table}.{name} was {old.type} and is {new.type}"
        elif new is None and table in after.tables:
            yield f"column {table}.{name} is gone"


def _demanded(before: Schema, after: Schema) -> Iterator[str]:
    for (table, name), new in after.columns.items():
        old = before.columns.get((table, name))
        if table not in before.tables or not new.is_required:
            continue
        if old is None and not new.has_default:
            yield f"column {table}.{name} is new, must have a value, and has no default"
        elif old is not None and (not old.is_required or (old.has_default and not new.has_default)):
            yield f"column {table}.{name} must be given a value now"
    for (table, rule), about in after.rules.items():
        known = {name for of, name in before.columns if of == table}
        if (table, rule) not in before.rules and about and about <= known:
            yield f"table {table} has a new rule about what was there: {rule}"
