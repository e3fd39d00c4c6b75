"""The audit log in SQL. The database lets rows be added, and nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg import AsyncConnection as DriverConnection
from psycopg.types.json import Jsonb
from sqlalchemy import RowMapping, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.audit import Actor, ActorKind, AuditRecord
from domain.ids import TenantId
from persistence.tables.tenants import audit_log

_RECORD: Final = """
INSERT INTO audit_log (tenant_id, actor_kind, actor_id, actor_name, source_address, request_id,
    action, subject_type, subject_id, details)
VALUES (%(tenant_id)s, %(actor_kind)s, %(actor_id)s, %(actor_name)s, %(source_address)s,
    %(request_id)s, %(action)s, %(subject_type)s, %(subject_id)s, %(details)s)
"""


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which records are wanted. Times include their start and exclude their end.

    Parameters
    ----------
    tenant_id
        Whose; ``None`` for those of all tenants and of none.
    actor_id
        As ``Actor.id``.
    """

    tenant_id: TenantId | None = None
    subject_type: str | None = None
    subject_id: str | None = None
    action: str | None = None
    actor_id: str | None = None
    recorded_from: datetime | None = None
    recorded_to: datetime | None = None


class AuditRepository:
    """Rows of ``audit_log``."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def record(
        self,
        actor: Actor,
        action: str,
        *,
        tenant_id: TenantId | None,
        subject_type: str,
        subject_id: object,
        reason: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """Record a change in the transaction that makes it: one is never there without the other.

        Parameters
        ----------
        action
            As in ``account.freeze``.
        subject_id
            What was changed; its text is kept.
        details
            What changed, as JSON, without names, descriptions or secrets.
        """
        await self._connection.execute(
            insert(audit_log).values(
                **_actor_columns(actor),
                tenant_id=tenant_id,
                action=action,
                subject_type=subject_type,
                subject_id=str(subject_id),
                reason=reason,
                details=dict(details or {}),
            )
        )

    async def page(
        self, wanted: AuditFilter, *, before: int | None, limit: int
    ) -> list[AuditRecord]:
        """Read records, newest first, from just behind ``before``."""
        statement = select(audit_log)
        for column, value in (
            (audit_log.c.tenant_id, wanted.tenant_id),
            (audit_log.c.subject_type, wanted.subject_type),
            (audit_log.c.subject_id, wanted.subject_id),
            (audit_log.c.action, wanted.action),
            (audit_log.c.actor_id, wanted.actor_id),
        ):
            if value is not None:
                statement = statement.where(column == value)
        if wanted.recorded_from is not None:
            statement = statement.where(audit_log.c.recorded_at >= wanted.recorded_from)
        if wanted.recorded_to is not None:
            statement = statement.where(audit_log.c.recorded_at < wanted.recorded_to)
        if before is not None:
            statement = statement.where(audit_log.c.id < before)
        result = await self._connection.execute(
            statement.order_by(audit_log.c.id.desc()).limit(limit)
        )
        return [_record(row) for row in result.mappings()]


async def record_change(
    connection: DriverConnection[Any],
    actor: Actor,
    action: str,
    *,
    tenant_id: TenantId,
    subject_type: str,
    subject_id: object,
    details: Mapping[str, Any],
) -> None:
    """Record a change as ``AuditRepository.record`` does, on a connection of the driver's own."""
    await connection.execute(
        _RECORD,
        {
            **_actor_columns(actor),
            "tenant_id": tenant_id,
            "action": action,
            "subject_type": subject_type,
            "subject_id": str(subject_id),
            "details": Jsonb(dict(details)),
        },
    )


def _actor_columns(actor: Actor) -> dict[str, str | None]:
    return {
        "actor_kind": actor.kind.value,
        "actor_id": actor.id,
        "actor_name": actor.name,
        "source_address": actor.source_address,
        "request_id": actor.request_id,
    }


def _record(row: RowMapping) -> AuditRecord:
    return AuditRecord(
        id=row["id"],
        tenant_id=None if row["tenant_id"] is None else TenantId(row["tenant_id"]),
        recorded_at=row["recorded_at"],
        actor=Actor(
            kind=ActorKind(row["actor_kind"]),
            id=row["actor_id"],
            name=row["actor_name"],
            source_address=row["source_address"],
            request_id=row["request_id"],
        ),
        action=row["action"],
        subject_type=row["subject_type"],
        subject_id=row["subject_id"],
        reason=row["reason"],
        details=row["details"],
    )
