"""What is stuck, of all tenants, and what an operator does about it: first shown, then done."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

from fastapi import Depends, Query, Request, Response

from api.console.pages import LIVE_SECONDS, PREFIX, done, fragment, page
from api.console.reasons import reason_of
from api.console.routing import console_router
from api.console.visitors import Form, OperatingVisitor, Operator
from api.context import Context
from api.operator_desk import ActionRequest
from api.parameters import PAGE_SIZE, TransferInPath
from api.routes.operators import StuckCursor, cursor_of
from domain.errors import FieldProblem, TemporalUnavailable, ValidationFailed
from domain.ids import TransferId, parse_uuid
from domain.limits import OPERATOR_ACTION_TRANSFERS_MAXIMUM
from domain.operator_actions import ActionOutcome, ActionResult
from domain.stuck import OperatorAction, StuckCause
from persistence.stuck import StuckFilter, StuckOrder

router = console_router()

COUNTED_MAXIMUM: Final = 50
"""Stuck things that the overview counts: more are more."""

TRANSFER_FIELD: Final = "transfer"

_TONES: Final[Mapping[ActionOutcome, str]] = {
    ActionOutcome.WOULD_BE_DONE: "busy",
    ActionOutcome.DONE: "good",
    ActionOutcome.UNDER_WAY: "busy",
    ActionOutcome.NOTHING_TO_DO: "quiet",
    ActionOutcome.REFUSED: "bad",
    ActionOutcome.FAILED: "bad",
}


async def _chosen(request: Request) -> list[TransferId]:
    """Read the transfers that a form names."""
    form = await request.form()
    ids = [parse_uuid(str(text)) for text in form.getlist(TRANSFER_FIELD)]
    known = [TransferId(uuid) for uuid in ids if uuid is not None]
    if not 1 <= len(known) <= OPERATOR_ACTION_TRANSFERS_MAXIMUM or len(known) < len(ids):
        message = f"must be 1 to {OPERATOR_ACTION_TRANSFERS_MAXIMUM}: tick what you mean"
        raise ValidationFailed([FieldProblem("transfers", "choice", message)])
    return known


Chosen = Annotated[Sequence[TransferId], Depends(_chosen)]


@router.get("/stuck")
async def stuck_page(
    *,
    request: Request,
    context: Context,
    visitor: OperatingVisitor,
    cursor: StuckCursor,
    cause: Annotated[str, Query()] = "",
    sort: Annotated[StuckOrder, Query()] = StuckOrder.AGE,
) -> Response:
    """Show what is stuck, of all tenants, oldest or largest first."""
    wanted = StuckCause(cause) if cause in set(StuckCause) else None
    found = await context.stuck.page(
        StuckFilter(), sort, cause=wanted, after=cursor, limit=PAGE_SIZE
    )
    position = found.next_position
    return page(
        request,
        visitor,
        "stuck.html",
        live_seconds=LIVE_SECONDS if cursor is None else None,
        found=found,
        next_cursor=None if position is None else cursor_of(position),
        cause=wanted,
        causes=list(StuckCause),
        sort=sort,
        orders=list(StuckOrder),
        actions=list(OperatorAction),
        is_first=cursor is None,
    )


@router.get("/stuck/count")
async def stuck_count(context: Context, _visitor: OperatingVisitor) -> Response:
    """Tell how much is stuck, for the overview."""
    found = await context.stuck.page(
        StuckFilter(), StuckOrder.AGE, after=None, limit=COUNTED_MAXIMUM
    )
    return fragment("stuck_count.html", found=found)


@router.get("/transfers/{transfer}/judgement")
async def judgement_part(
    context: Context, visitor: OperatingVisitor, transfer: TransferInPath
) -> Response:
    """Tell whether a transfer is stuck, why, and what can be done."""
    try:
        found = await context.stuck.find(transfer)
    except TemporalUnavailable as error:
        return fragment("judgement.html", visitor=visitor, found=None, error=error.message)
    return fragment("judgement.html", visitor=visitor, found=found, error=None)


@router.post("/stuck/preview")
async def preview(
    request: Request, context: Context, visitor: Operator, form: Form, chosen: Chosen
) -> Response:
    """Show what an action would do, of each transfer, before it is done."""
    asked = _request(visitor, form, is_preview=True)
    results = await context.operator_desk.act_on_all(chosen, asked)
    return page(
        request,
        visitor,
        "stuck_preview.html",
        asked=asked,
        results=results,
        possible=[r for r in results if r.plan.outcome is ActionOutcome.WOULD_BE_DONE],
        tones=_TONES,
    )


@router.post("/stuck/act")
async def act(
    request: Request, context: Context, visitor: Operator, form: Form, chosen: Chosen
) -> Response:
    """Do it; each transfer has an outcome of its own. Safe to repeat."""
    asked = _request(visitor, form, is_preview=False)
    results = await context.operator_desk.act_on_all(chosen, asked)
    if len(results) == 1:
        return _told(request, visitor, results[0])
    return page(request, visitor, "stuck_results.html", asked=asked, results=results, tones=_TONES)


def _told(request: Request, visitor: Operator, result: ActionResult) -> Response:
    """Go to the transfer that was acted on, where it is the shown tenant's, and say what came."""
    is_error = result.plan.outcome in {ActionOutcome.REFUSED, ActionOutcome.FAILED}
    is_here = result.tenant_id == visitor.tenant_id
    path = f"{PREFIX}/transfers/{result.transfer_id}" if is_here else f"{PREFIX}/stuck"
    return done(request, path, result.plan.message, is_error=is_error)


def _request(visitor: Operator, form: Form, *, is_preview: bool) -> ActionRequest:
    try:
        action = OperatorAction(form.get("action", ""))
    except ValueError:
        problem = FieldProblem("action", "choice", "must be one of those offered")
        raise ValidationFailed([problem]) from None
    return ActionRequest(
        action=action,
        reason=reason_of(form),
        actor=visitor.principal.actor,
        requested_by=visitor.principal.api_key_id,
        is_preview=is_preview,
    )
