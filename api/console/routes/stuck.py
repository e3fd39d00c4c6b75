"""What is stuck, of all tenants, and what an operator does about it: first shown, then done."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final
from uuid import UUID

from fastapi import Query, Request, Response

from api.console.formats import short
from api.console.pages import LIVE_SECONDS, PREFIX, done, fragment, page, part
from api.console.places import STUCK_PAGES
from api.console.reasons import reason_of
from api.console.routing import console_router
from api.console.visitors import Form, OperatingVisitor, Operator
from api.context import ApiContext, Context
from api.operator_desk import ActionRequest
from api.parameters import PAGE_SIZE, TransferInPath
from api.routes.operators import StuckCursor, cursor_of
from domain.errors import FieldProblem, TemporalUnavailable, ValidationFailed
from domain.ids import TenantId, parse_uuid
from domain.limits import OPERATOR_ACTION_ITEMS_MAXIMUM
from domain.operator_actions import ActionOutcome, ActionResult
from domain.stuck import OperatorAction, StuckCause, StuckKind
from persistence.stuck import StuckFilter, StuckOrder
from services.currencies import find_currency

router = console_router()

COUNTED_MAXIMUM: Final = 50
"""Stuck things that the overview counts: more are more."""

ITEM_FIELD: Final = "item"
ALL: Final = "all"
"""Of a form: all that its search finds, and not what is ticked."""


@dataclass(frozen=True, slots=True)
class StuckSearch:
    """What the list is restricted to.

    Parameters
    ----------
    fields
        As they stand in an address, empty where nothing is restricted.
    """

    fields: Mapping[str, str]
    wanted: StuckFilter
    cause: StuckCause | None


def read_stuck_search(query: Mapping[str, str]) -> StuckSearch:
    """Read a search of what is stuck; what cannot be restricts nothing."""
    tenant = parse_uuid(query.get("tenant", ""))
    kind, cause = query.get("kind", ""), query.get("cause", "")
    currency = query.get("currency", "").strip().upper()
    wanted = StuckFilter(
        tenant_id=None if tenant is None else TenantId(tenant),
        kind=StuckKind(kind) if kind in set(StuckKind) else None,
        currency=currency if find_currency(currency) else None,
    )
    known = StuckCause(cause) if cause in set(StuckCause) else None
    fields = {
        "tenant": str(wanted.tenant_id or ""),
        "kind": wanted.kind or "",
        "cause": known or "",
        "currency": wanted.currency or "",
    }
    return StuckSearch(fields, wanted, known)


async def _ticked(request: Request) -> Sequence[UUID]:
    """Read the ids that a form names."""
    form = await request.form()
    ids = [parse_uuid(str(text)) for text in form.getlist(ITEM_FIELD)]
    known = [uuid for uuid in ids if uuid is not None]
    if not 1 <= len(known) <= OPERATOR_ACTION_ITEMS_MAXIMUM or len(known) < len(ids):
        message = f"must be 1 to {OPERATOR_ACTION_ITEMS_MAXIMUM}: tick what you mean"
        raise ValidationFailed([FieldProblem("items", "choice", message)])
    return known


async def _found(context: ApiContext, form: Mapping[str, str]) -> tuple[Sequence[UUID], bool]:
    """Find what a form's search means, and tell whether there is more."""
    search = read_stuck_search(form)
    found, has_more = await context.operator_desk.selection(search.wanted, search.cause)
    if not found:
        raise ValidationFailed([FieldProblem("items", "choice", "none is stuck like that")])
    return found, has_more


@router.get("/stuck")
async def stuck_page(
    *,
    request: Request,
    context: Context,
    visitor: OperatingVisitor,
    cursor: StuckCursor,
    sort: Annotated[StuckOrder, Query()] = StuckOrder.AGE,
) -> Response:
    """Show what is stuck, of all tenants or as it is searched for, oldest or largest first."""
    search = read_stuck_search(request.query_params)
    found = await context.stuck.page(
        search.wanted, sort, cause=search.cause, after=cursor, limit=PAGE_SIZE
    )
    position = found.next_position
    return page(
        request,
        visitor,
        "stuck.html",
        live_seconds=LIVE_SECONDS if cursor is None else None,
        found=found,
        next_cursor=None if position is None else cursor_of(position),
        search=search,
        tenants=await context.console.sessions.tenants(visitor.session),
        kinds=list(StuckKind),
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
    request: Request, context: Context, visitor: OperatingVisitor, transfer: TransferInPath
) -> Response:
    """Tell whether a transfer is stuck, why, and what can be done."""
    found, error = None, None
    try:
        found = await context.stuck.find(transfer)
    except TemporalUnavailable as unavailable:
        error = unavailable.message
    return part(
        request,
        visitor,
        "judgement.html",
        title=f"Is transfer {short(transfer)} stuck?",
        back=f"{PREFIX}/transfers/{transfer}",
        found=found,
        error=error,
    )


@router.post("/stuck/preview")
async def preview(request: Request, context: Context, visitor: Operator, form: Form) -> Response:
    """Show what an action would do, of each thing, before it is done."""
    asked = _request(visitor, form, is_preview=True)
    if form.get("of") == ALL:
        chosen, has_more = await _found(context, form)
    else:
        chosen, has_more = await _ticked(request), False
    results = await context.operator_desk.act_on_all(chosen, asked)
    return page(
        request,
        visitor,
        "stuck_preview.html",
        asked=asked,
        results=results,
        has_more=has_more,
        possible=[r for r in results if r.plan.outcome is ActionOutcome.WOULD_BE_DONE],
    )


@router.post("/stuck/act")
async def act(request: Request, context: Context, visitor: Operator, form: Form) -> Response:
    """Do it with what the preview named; each has an outcome. Safe to repeat."""
    asked = _request(visitor, form, is_preview=False)
    chosen = await _ticked(request)
    results = await context.operator_desk.act_on_all(chosen, asked)
    if len(results) == 1:
        return _told(request, visitor, results[0])
    return page(request, visitor, "stuck_results.html", asked=asked, results=results)


def _told(request: Request, visitor: Operator, result: ActionResult) -> Response:
    """Go to what was acted on, where it is the shown tenant's, and say what came of it."""
    is_error = result.plan.outcome in {ActionOutcome.REFUSED, ActionOutcome.FAILED}
    is_here = result.tenant_id == visitor.tenant_id
    path = f"{PREFIX}/stuck"
    if is_here and result.kind is not None:
        path = f"{PREFIX}/{STUCK_PAGES[result.kind]}/{result.id}"
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
