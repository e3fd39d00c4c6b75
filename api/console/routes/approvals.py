"""The inbox of those who approve."""

from collections.abc import Mapping

from fastapi import Request, Response
from pydantic import ValidationError

from api.console.pages import LIVE_SECONDS, PREFIX, done, page
from api.console.routing import console_router
from api.console.visitors import Approver, Form, TransfersVisitor
from api.context import Context
from api.operation_schemas import DecisionBody
from api.parameters import PAGE_SIZE, Cursor, TransferInPath
from domain.errors import FieldProblem, ValidationFailed
from domain.operations import Operation
from domain.states import TransferStage
from persistence.transfers import TransferFilter
from services.identifiers import new_uuid

router = console_router()

DECISION_WAIT_SECONDS = 5.0
"""How long a page waits for a decision to be carried out; it is shown as under way after that."""

_DECISIONS: Mapping[str, Operation] = {"approve": Operation.APPROVE, "reject": Operation.REJECT}
_DONE: Mapping[Operation, str] = {
    Operation.APPROVE: "Approved.",
    Operation.REJECT: "Rejected: the transfer fails, and what it held is released.",
}


@router.get("/approvals")
async def approvals_page(
    request: Request, context: Context, visitor: TransfersVisitor, cursor: Cursor
) -> Response:
    """Show what waits for an approval."""
    waiting = await context.transactions.page(
        visitor.tenant_id,
        TransferFilter(stage=TransferStage.AWAITING_APPROVAL),
        after=cursor,
        limit=PAGE_SIZE,
    )
    return page(
        request,
        visitor,
        "approvals.html",
        live_seconds=LIVE_SECONDS if cursor is None else None,
        waiting=waiting,
        approvals=await context.console.details.approvals(waiting.items),
        labels=await context.console.details.label(visitor.tenant_id, waiting.items),
        # Sent again, by a second click, it is one decision.
        keys={transfer.id: f"console-{new_uuid()}" for transfer in waiting.items},
        is_first=cursor is None,
    )


@router.post("/approvals/{transfer}")
async def decide(
    request: Request, context: Context, visitor: Approver, transfer: TransferInPath, form: Form
) -> Response:
    """Approve or reject a transfer."""
    operation = _DECISIONS.get(form.get("decision", ""))
    if operation is None:
        raise ValidationFailed([FieldProblem("decision", "choice", "must be approve or reject")])
    try:
        body = DecisionBody(
            note=form.get("note") or None, fingerprint=form.get("fingerprint") or None
        )
    except ValidationError:
        problem = FieldProblem("note", "note", "must have at most 1,000 characters")
        raise ValidationFailed([problem]) from None
    order = body.to_order(operation, visitor.principal, transfer, form.get("key") or "")
    answer = await context.operations.submit(order, wait_seconds=DECISION_WAIT_SECONDS)
    text = _DONE[operation] if answer.is_done else "Taken in; it is being carried out."
    return done(request, f"{PREFIX}/approvals", text)
