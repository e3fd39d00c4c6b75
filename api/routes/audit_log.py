"""The audit log."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import Query, Response

from api.audit_schemas import AuditRecordView
from api.auth import AuditReader, guarded_router
from api.context import Context
from api.fields import Moment
from api.parameters import PAGE_SIZE, PageSize, bad_cursor
from api.responses import answer_page, problems
from api.schemas import ListView
from domain.access import Scope
from domain.ids import TenantId
from domain.limits import NAME_LENGTH_MAXIMUM
from persistence.audit import AuditFilter

router = guarded_router("/v1/audit-log", "audit log")

RECORD_DIGITS_MAXIMUM: Final = 18
"""A record's id is a 64-bit integer."""

Text = Annotated[str | None, Query(max_length=NAME_LENGTH_MAXIMUM, pattern="^[^\\x00]*$")]


@router.get("", response_model=ListView[AuditRecordView], responses=problems())
async def list_changes(
    *,
    context: Context,
    principal: AuditReader,
    subject_type: Text = None,
    subject_id: Text = None,
    action: Text = None,
    actor: Annotated[Text, Query(description="Id of who did it.")] = None,
    tenant_id: Annotated[
        UUID | None, Query(description="Whose; for callers who see those of all.")
    ] = None,
    from_: Annotated[Moment | None, Query(alias="from", description="At or after.")] = None,
    to: Annotated[Moment | None, Query(description="Before.")] = None,
    cursor: Annotated[str | None, Query()] = None,
    page_size: PageSize = PAGE_SIZE,
) -> Response:
    """Read who changed what, from where and why, newest first.

    The tenant's own; with `operations:read` besides, those of all tenants.
    """
    sees_all = Scope.OPERATIONS_READ in principal.scopes
    wanted = AuditFilter(
        tenant_id=_tenant(tenant_id) if sees_all else principal.tenant_id,
        subject_type=subject_type,
        subject_id=subject_id,
        action=action,
        actor_id=actor,
        recorded_from=from_,
        recorded_to=to,
    )
    page = await context.audit.page(wanted, before=_record(cursor), limit=page_size)
    return answer_page(page, AuditRecordView.of)


def _tenant(tenant_id: UUID | None) -> TenantId | None:
    return None if tenant_id is None else TenantId(tenant_id)


def _record(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= RECORD_DIGITS_MAXIMUM):
        raise bad_cursor()
    return int(cursor)
