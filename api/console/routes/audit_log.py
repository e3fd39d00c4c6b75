"""The audit log: who changed what, from where and why."""

from typing import Annotated

from fastapi import Query, Request, Response

from api.console.pages import LIVE_SECONDS, page
from api.console.routing import console_router
from api.console.visitors import AuditVisitor
from api.context import Context
from api.parameters import PAGE_SIZE
from api.routes.audit_log import RECORD_DIGITS_MAXIMUM
from domain.errors import FieldProblem, ValidationFailed
from domain.limits import NAME_LENGTH_MAXIMUM
from persistence.audit import AuditFilter

router = console_router()

Text = Annotated[str, Query(max_length=NAME_LENGTH_MAXIMUM, pattern="^[^\\x00]*$")]


@router.get("/audit-log")
async def audit_page(
    *,
    request: Request,
    context: Context,
    visitor: AuditVisitor,
    action: Text = "",
    actor: Text = "",
    subject: Text = "",
    everything: Annotated[str, Query(alias="all")] = "",
    cursor: Annotated[str | None, Query()] = None,
) -> Response:
    """Show who changed what, newest first; an operator may see all tenants at once."""
    is_all = bool(everything) and visitor.session.is_operator
    wanted = AuditFilter(
        tenant_id=None if is_all else visitor.tenant_id,
        action=action.strip() or None,
        actor_id=actor.strip() or None,
        subject_id=subject.strip() or None,
    )
    records = await context.audit.page(wanted, before=_record(cursor), limit=PAGE_SIZE)
    return page(
        request,
        visitor,
        "audit_log.html",
        live_seconds=LIVE_SECONDS if cursor is None else None,
        records=records,
        fields={"action": action, "actor": actor, "subject": subject},
        is_all=is_all,
        is_first=cursor is None,
    )


def _record(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= RECORD_DIGITS_MAXIMUM):
        raise ValidationFailed([FieldProblem("cursor", "cursor_form", "must be a record's id")])
    return int(cursor)
