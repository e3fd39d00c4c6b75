"""Fills the tables and Temporal's database with what years of transfers would have left there."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

from benchmarks.stack import ACCOUNT_ID_PREFIX, ACCOUNTS, CURRENCY, BenchStack
from persistence.database import Database
from services.ledger_seals import SealService

FILL: Final = Path(__file__).with_name("growth.sql")
SORT_MEMORY: Final = "256MB"
CACHE_KIB: Final = 1_000_000
CLONED_WORKFLOW: Final = "TransferWorkflow"
COMPLETED: Final = 2

_ALWAYS_TRIGGERS: Final = b"""
SELECT class.relname, trigger.tgname FROM pg_trigger AS trigger
JOIN pg_class AS class ON class.oid = trigger.tgrelid
WHERE trigger.tgenabled = 'A' AND NOT trigger.tgisinternal
"""

# The newest seal counts all entries that are sealed.
_UNSEALED: Final = """
SELECT (SELECT count(*) FROM ledger_entries)
    - coalesce((SELECT position FROM ledger_seals ORDER BY number DESC LIMIT 1), 0)
"""
SEALING_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.5

# A run's id as text, with the hyphens where visibility has them.
_DIGITS: Final = "lower(hex(clone.run_id))"
_RUN: Final = (
    f"substr({_DIGITS}, 1, 8) || '-' || substr({_DIGITS}, 9, 4) || '-' || "
    f"substr({_DIGITS}, 13, 4) || '-' || substr({_DIGITS}, 17, 4) || '-' || substr({_DIGITS}, 21)"
)
_WORKFLOW: Final = "substr(sample.workflow_id, 1, 37) || 'grown-' || clone.n"

# For each table: which columns a clone has of its own, and how to find the rows to clone.
_CLONED: Final = {
    "executions": (
        {"workflow_id": _WORKFLOW, "run_id": "clone.run_id"},
        "old.rowid = sample.execution",
    ),
    "current_executions": (
        {"workflow_id": _WORKFLOW, "run_id": "clone.run_id"},
        "old.rowid = sample.current",
    ),
    "history_tree": (
        {"tree_id": "clone.run_id", "branch_id": "clone.branch_id"},
        "old.shard_id = sample.shard_id AND old.tree_id = sample.run_id",
    ),
    "history_node": (
        {"tree_id": "clone.run_id", "branch_id": "clone.branch_id"},
        "old.shard_id = sample.shard_id AND old.tree_id = sample.run_id",
    ),
    "executions_visibility": (
        {
            "run_id": _RUN,
            "workflow_id": _WORKFLOW,
            "root_workflow_id": _WORKFLOW,
            "root_run_id": _RUN,
        },
        "old.rowid = sample.visibility",
    ),
}


async def fill_ledger(bench: BenchStack, number: int) -> None:
    """Add finished transfers to the tables, in one transaction and with whole sequences.

    Notes
    -----
    Triggers and foreign keys are off meanwhile; the proof of the ledger makes up for it.
    """
    text = FILL.read_text()
    values = {
        "number": str(number),
        "accounts": str(ACCOUNTS),
        "tenant": f"'{bench.tenant_id}'::uuid",
        "prefix": f"'{ACCOUNT_ID_PREFIX}'",
        "currency": f"'{CURRENCY}'",
    }
    for name, value in values.items():
        text = text.replace(f":{name}", value)
    async with await psycopg.AsyncConnection.connect(
        bench.superuser_url(), options=f"-c work_mem={SORT_MEMORY}"
    ) as connection:
        await connection.execute("SET LOCAL session_replication_role = replica")
        always = await (await connection.execute(_ALWAYS_TRIGGERS)).fetchall()
        for change in ("DISABLE TRIGGER", "ENABLE ALWAYS TRIGGER"):
            for table, trigger in always:
                await connection.execute(
                    sql.SQL("ALTER TABLE {} " + change + " {}").format(
                        sql.Identifier(table), sql.Identifier(trigger)
                    )
                )
            if change == "DISABLE TRIGGER":
                await connection.execute(text.encode())
    # So that none of it falls into a measurement.
    await _seal_all(bench)
    await bench.execute("VACUUM ANALYZE")
    await bench.execute("CHECKPOINT")


async def _seal_all(bench: BenchStack) -> None:
    """Seal what was added, as it would have been while it was posted."""
    database = Database.at(bench.superuser_url())
    try:
        seals = SealService(database)
        while (await bench.execute(_UNSEALED))[0][0]:
            # Where the stack itself is just sealing, this does nothing.
            await seals.seal(seconds=SEALING_SECONDS)
            await asyncio.sleep(POLL_SECONDS)
    finally:
        await database.close()


async def fill_temporal(bench: BenchStack, number: int, *, first: int) -> None:
    """Add finished workflows to Temporal's database: copies of some that it has, with new ids.

    Parameters
    ----------
    first
        How many it was given before.

    Notes
    -----
    Temporal is stopped meanwhile.
    """
    await bench.stack.stop_part("temporal")
    path = bench.folder / "temporal" / "temporal.db"
    await asyncio.to_thread(_clone, path, number, first)
    await bench.stack.start_part("temporal")


def _clone(path: Path, number: int, first: int) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        # A crash would cost the throw-away data and nothing else.
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute("BEGIN")
        connection.execute(
            "CREATE TEMPORARY TABLE sample AS "
            "SELECT row_number() OVER () - 1 AS n, visibility.rowid AS visibility, "
            "execution.rowid AS execution, current.rowid AS current, execution.shard_id, "
            "execution.workflow_id, execution.run_id "
            "FROM executions_visibility AS visibility JOIN executions AS execution "
            "ON lower(hex(execution.run_id)) = replace(visibility.run_id, '-', '') "
            "JOIN current_executions AS current ON current.run_id = execution.run_id "
            "WHERE visibility.workflow_type_name = ? AND visibility.status = ? LIMIT 100",
            [CLONED_WORKFLOW, COMPLETED],
        )
        connection.create_function("unhex", 1, bytes.fromhex, deterministic=True)
        connection.execute(
            # Ids of runs rise with time, as the server's own do.
            "CREATE TEMPORARY TABLE clone AS "
            "WITH RECURSIVE series (n) AS "
            "(SELECT ? UNION ALL SELECT n + 1 FROM series WHERE n + 1 < ?) "
            "SELECT n, n % (SELECT count(*) FROM sample) AS of, "
            "unhex(printf('018f%012x%s', n, hex(randomblob(8)))) AS run_id, "
            "randomblob(16) AS branch_id FROM series",
            [first, first + number],
        )
        connection.execute("CREATE INDEX temp.clone_of ON clone (of)")
        with _without_indexes(connection, "executions_visibility"):
            for table in _CLONED:
                _clone_rows(connection, table)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")


def _clone_rows(connection: sqlite3.Connection, table: str) -> None:
    own, condition = _CLONED[table]
    # Generated columns make themselves.
    columns = [row[1] for row in connection.execute(f"PRAGMA table_xinfo({table})") if not row[6]]
    values = [own.get(column, f"old.{column}") for column in columns]
    connection.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)} "  # noqa: S608 - of this file
        "FROM sample JOIN clone ON clone.of = sample.n "
        f"JOIN {table} AS old ON {condition} ORDER BY clone.n"
    )


@contextmanager
def _without_indexes(connection: sqlite3.Connection, table: str) -> Iterator[None]:
    """Make the indexes anew afterwards, which takes less than to keep them up."""
    indexes = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = ? AND sql NOTNULL",
        [table],
    ).fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    yield
    for _, definition in indexes:
        connection.execute(definition)
