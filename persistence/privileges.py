"""What each role of the database may do, table by table.

The owner migrates. The service works: it reads and adds, and changes only the columns that have to
change, so that it can alter neither history nor schema. The reader looks. Row-level security shows
the service one tenant at a time; for work that spans tenants it changes to the system's role, which
has the same rights and is not held by that fence. ``transfers migrate`` ends by granting all this,
so it can be given again at any time, also for roles that were made later.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from sqlalchemy import Connection, text

from persistence.tenancy import SYSTEM_ROLE

SERVICE_ROLE: Final = "transfers_service"
READER_ROLE: Final = "transfers_reader"
ROLES: Final = (SERVICE_ROLE, SYSTEM_ROLE, READER_ROLE)


@dataclass(frozen=True, slots=True)
class TableRights:
    """What the service may do with a table beside reading and adding rows.

    Parameters
    ----------
    changes
        Columns that it may update.
    removes
        Whether it may delete rows.
    """

    changes: tuple[str, ...] = ()
    removes: bool = False


_APPEND_ONLY: Final = TableRights()

SERVICE_RIGHTS: Final[Mapping[str, TableRights]] = MappingProxyType(
    {
        "tenants": _APPEND_ONLY,
        "users": _APPEND_ONLY,
        "idempotency_keys": _APPEND_ONLY,
        "ledger_entries": _APPEND_ONLY,
        "transfer_events": _APPEND_ONLY,
        "transfer_legs": _APPEND_ONLY,
        "transfer_operations": _APPEND_ONLY,
        "audit_log": _APPEND_ONLY,
        "ledger_seals": _APPEND_ONLY,
        "ledger_seal_segments": _APPEND_ONLY,
        "ledger_proofs": TableRights(
            (
                "position",
                "pass_began_at",
                "examined",
                "advanced_at",
                "completed_at",
                "completed_examined",
                "remaining",
            )
        ),
        "ledger_violations": TableRights(
            ("message", "first_seen_at", "last_seen_at", "resolved_at")
        ),
        "api_keys": TableRights(
            (
                "prefix",
                "secret_hash",
                "previous_secret_hash",
                "previous_expires_at",
                "rotated_at",
                "requests_per_second",
                "requests_burst",
                "revoked_at",
            )
        ),
        "console_sessions": TableRights(("viewed_tenant_id", "last_used_at"), removes=True),
        "accounts": TableRights(("metadata",)),
        "balances": TableRights(
            (
                "status",
                "posted_minor",
                "held_minor",
                "overdraft_limit_minor",
                "last_sequence",
                "has_limits",
            )
        ),
        "holds": TableRights(("status", "captured_minor", "closed_at")),
        "transfers": TableRights(
            (
                "state",
                "stage",
                "failure_code",
                "failure_message",
                "captured_minor",
                "reversed_minor",
                "expires_at",
                "approval_deadline_at",
                "approvals_required",
                "updated_at",
                "completed_at",
            )
        ),
        "transfer_batches": TableRights(
            (
                "state",
                "stage",
                "failure_code",
                "failure_message",
                "position",
                "succeeded_rows",
                "replayed_rows",
                "failed_rows",
                "rejected_rows",
                "cancelled_rows",
                "cancel_requested_at",
                "started_at",
                "updated_at",
                "completed_at",
            )
        ),
        "transfer_batch_rows": TableRights(("status", "code", "message", "transfer_id")),
        "standing_orders": TableRights(
            ("status", "status_reason", "updated_at", "paused_at", "resumed_at", "ended_at")
        ),
        "standing_order_runs": TableRights(
            ("state", "transfer_id", "failure_code", "failure_message", "completed_at")
        ),
        "approval_rules": TableRights(("retired_at", "retired_by")),
        "account_limits": TableRights(
            (
                "per_transfer_minor",
                "per_day_minor",
                "per_month_minor",
                "updated_at",
                "updated_by",
            ),
            removes=True,
        ),
        "account_usage": TableRights(("used_minor",), removes=True),
        # Those of tenants go with their slot, which takes no right of the service's.
        "service_samples": TableRights(removes=True),
        "tenant_samples": _APPEND_ONLY,
        "held_samples": _APPEND_ONLY,
        # Rows live for the moment before a commit: its trigger removes what it has judged.
        "unbalanced_postings": TableRights(removes=True),
    }
)
"""A table that is not named here can be read and added to."""

HIDDEN_COLUMNS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "api_keys": frozenset({"secret_hash", "previous_secret_hash"}),
        "console_sessions": frozenset({"token_hash"}),
    }
)
"""What the reader does not see."""

LOOK_UPS: Final = (
    "api_key_of(bytea)",
    "api_key_in_overlap_of(bytea)",
    "api_subject_of(text, text, text)",
    "transfers_with_metadata(jsonb, integer)",
)
"""Functions that look behind the tenants' fence: for who calls, before his tenant is known, and for
what stands in an index that the fence keeps from use."""

VERSION_TABLE: Final = "alembic_version"

UNFENCED: Final = frozenset(
    {
        VERSION_TABLE,
        "ledger_seals",
        "ledger_seal_segments",
        "ledger_proofs",
        "ledger_violations",
        "service_samples",
    }
)
"""Tables without a tenant, and so without row-level security."""


def grant_privileges(connection: Connection) -> None:
    """Give the roles that are there what they may have, and take away all else.

    Notes
    -----
    In the caller's transaction, as the tables' owner. Changes nothing where it was done before.
    """
    present = _present_roles(connection)
    for statement in _grants(connection, present):
        connection.execute(text(statement))


def _grants(connection: Connection, present: frozenset[str]) -> Iterator[str]:
    database = connection.scalar(text("SELECT quote_ident(current_database())"))
    # A temporary table of the same name would stand before the ledger's own in its triggers.
    yield f"REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC"
    yield "REVOKE CREATE ON SCHEMA public FROM PUBLIC"
    for role in ROLES:
        if role not in present:
            continue
        yield f"GRANT CONNECT ON DATABASE {database} TO {role}"
        yield f"GRANT USAGE ON SCHEMA public TO {role}"
        yield f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}"
        if role == READER_ROLE:
            yield from _reader_grants(connection, role)
        else:
            yield from _service_grants(connection, role)


def _service_grants(connection: Connection, role: str) -> Iterator[str]:
    later = "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT"
    yield f"{later} SELECT, INSERT ON TABLES TO {role}"
    yield f"GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO {role}"
    for function in LOOK_UPS:
        if connection.scalar(text(f"SELECT to_regprocedure('{function}')")) is not None:
            yield f"GRANT EXECUTE ON FUNCTION {function} TO {role}"
    yield f"REVOKE INSERT ON {VERSION_TABLE} FROM {role}"
    present = _present_tables(connection)
    for table, rights in SERVICE_RIGHTS.items():
        if table not in present:
            continue
        columns = _listed(name for name in rights.changes if name in present[table])
        if columns:
            yield f"GRANT UPDATE ({columns}) ON {table} TO {role}"
        if rights.removes:
            yield f"GRANT DELETE ON {table} TO {role}"


def _reader_grants(connection: Connection, role: str) -> Iterator[str]:
    yield f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {role}"
    for table, columns in _present_tables(connection).items():
        hidden = HIDDEN_COLUMNS.get(table, frozenset())
        shown = (
            "" if not hidden else f" ({_listed(name for name in columns if name not in hidden)})"
        )
        yield f"GRANT SELECT{shown} ON {table} TO {role}"


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)


def _present_roles(connection: Connection) -> frozenset[str]:
    found = connection.execute(
        text("SELECT rolname FROM pg_roles WHERE rolname = ANY(:roles)"), {"roles": list(ROLES)}
    )
    return frozenset(found.scalars())


def _present_tables(connection: Connection) -> dict[str, list[str]]:
    """Give the tables of the schema as it is, which may be newer or older than this code."""
    found = connection.execute(
        text(
            "SELECT table_name,"
            " array_agg(column_name::text ORDER BY ordinal_position) AS columns"
            " FROM information_schema.columns JOIN information_schema.tables"
            " USING (table_schema, table_name)"
            " WHERE table_schema = 'public' AND table_type = 'BASE TABLE' GROUP BY table_name"
        )
    )
    return {row.table_name: list(row.columns) for row in found}
