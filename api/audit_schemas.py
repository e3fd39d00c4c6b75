"""Records of the audit log, as clients see them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from domain.audit import ActorKind, AuditRecord


class ActorView(BaseModel):
    """Who changed something."""

    kind: ActorKind
    id: str | None = Field(description="Of an API key, its id.")
    name: str = Field(description="As it was at the time.")
    source_address: str | None = Field(description="Where the request came from.")


class AuditRecordView(BaseModel):
    """One change."""

    id: int
    tenant_id: UUID | None
    recorded_at: datetime
    actor: ActorView
    action: str = Field(description="As in `account.freeze`.")
    subject_type: str
    subject_id: str
    reason: str | None
    request_id: str | None = Field(description="The X-Request-ID of the request that did it.")
    details: dict[str, Any]

    @staticmethod
    def of(record: AuditRecord) -> "AuditRecordView":
        """Show a record."""
        actor = record.actor
        return AuditRecordView(
            id=record.id,
            tenant_id=record.tenant_id,
            recorded_at=record.recorded_at,
            actor=ActorView(
                kind=actor.kind,
                id=actor.id,
                name=actor.name,
                source_address=actor.source_address,
            ),
            action=record.action,
            subject_type=record.subject_type,
            subject_id=record.subject_id,
            reason=record.reason,
            request_id=actor.request_id,
            details=dict(record.details),
        )
