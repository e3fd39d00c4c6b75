"""What operators see of all tenants' transfers, batches and runs, and what they do with them."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, TypeAlias
from uuid import UUID

from fastapi import Depends, Path, Query, Response

from api.auth import OperationsReader, OperationsWriter, guarded_router
from api.context import ApiContext, Context
from api.fields import CurrencyCode
from api.operator_desk import ActionRequest
from api.operator_schemas import (
    ActionBody,
    ActionView,
    BulkActionBody,
    BulkActionView,
    StuckListView,
    StuckView,
)
from api.parameters import PAGE_SIZE, PageSize, TransferInPath, bad_cursor
from api.problems import problem_response
from api.responses import answer, problems
from domain.errors import TransferNotFound
from domain.ids import TenantId, parse_uuid
from domain.operator_actions import ActionOutcome
from domain.stuck import Judgement, OperatorAction, StuckCause, StuckKind
from persistence.stuck import StuckFilter, StuckOrder, StuckPosition

router = guarded_router("/v1/operations", "operations")

_SEPARATOR = "|"


async def _stuck_cursor(cursor: Annotated[str | None, Query()] = None) -> StuckPosition | None:
    if cursor is None:
        return None
    try:
        since, amount, item = urlsafe_b64decode(cursor).decode().split(_SEPARATOR)
        moment, item_id = datetime.fromisoformat(since), parse_uuid(item)
        if item_id is None or moment.tzinfo is None:
            raise bad_cursor()
        return StuckPosition(moment, int(amount[:40]), item_id)
    except (ValueError, binascii.Error):
        raise bad_cursor() from None


StuckCursor: TypeAlias = Annotated[StuckPosition | None, Depends(_stuck_cursor)]


@router.get("/stuck", response_model=StuckListView, responses=problems())
async def list_stuck(
    *,
    context: Context,
    _principal: OperationsReader,
    cursor: StuckCursor,
    tenant: Annotated[UUID | None, Query(description="Only of this tenant.")] = None,
    kind: Annotated[StuckKind | None, Query()] = None,
    cause: Annotated[StuckCause | None, Query()] = None,
    currency: Annotated[CurrencyCode | None, Query()] = None,
    sort: Annotated[
        StuckOrder, Query(description="age: oldest first; amount: largest first, in minor units.")
    ] = StuckOrder.AGE,
    page_size: PageSize = PAGE_SIZE,
) -> Response:
    """Read what is stuck, of all tenants, with its cause and with what can be done.

    A page may have fewer objects than asked for, or none, and still a next one.
    """
    wanted = StuckFilter(
        tenant_id=None if tenant is None else TenantId(tenant), kind=kind, currency=currency
    )
    page = await context.stuck.page(wanted, sort, cause=cause, after=cursor, limit=page_size)
    position = page.next_position
    return answer(
        StuckListView(
            data=[_view(context, item) for item in page.items],
            next_cursor=None if position is None else cursor_of(position),
            is_complete=page.is_complete,
        )
    )


@router.get("/stuck/{item}", response_model=StuckView, responses=problems(HTTPStatus.NOT_FOUND))
async def get_stuck(
    item: Annotated[str, Path(description="Id of a transfer, a batch, or a standing order.")],
    context: Context,
    _principal: OperationsReader,
) -> Response:
    """Look at a transfer or batch of any tenant, or a standing order's run: why it is stuck.

    Stuck or not; of an order, the oldest run that is under way, else the newest.
    """
    item_id = parse_uuid(item)
    if item_id is None:
        raise TransferNotFound(item)
    return answer(_view(context, await context.stuck.find(item_id)))


@router.get(
    "/transfers/{transfer}", response_model=StuckView, responses=problems(HTTPStatus.NOT_FOUND)
)
async def get_operated_transfer(
    transfer: TransferInPath, context: Context, _principal: OperationsReader
) -> Response:
    """Look at one transfer of any tenant: whether it is stuck, why, and what can be done."""
    return answer(_view(context, await context.stuck.find(transfer, StuckKind.TRANSFER)))


@router.post(
    "/transfers/{transfer}/{action}",
    response_model=ActionView,
    responses=problems(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def act_on_transfer(
    *,
    transfer: TransferInPath,
    action: OperatorAction,
    body: ActionBody,
    context: Context,
    principal: OperationsWriter,
) -> Response:
    """Do one thing with a transfer of any tenant, with a reason; safe to repeat.

    409 where it does not fit the transfer as it stands; a preview answers 200 all the same.
    """
    asked = ActionRequest(
        action=action,
        reason=body.reason,
        actor=principal.actor,
        requested_by=principal.api_key_id,
        kind=StuckKind.TRANSFER,
        is_preview=body.preview,
    )
    result = await context.operator_desk.act(transfer, asked)
    plan = result.plan
    if plan.outcome is ActionOutcome.REFUSED and not body.preview:
        return problem_response(
            HTTPStatus.CONFLICT, plan.code or "action_not_possible", plan.message
        )
    return answer(ActionView.of(result))


@router.post("/actions", response_model=BulkActionView, responses=problems())
async def act_on_several(
    body: BulkActionBody, context: Context, principal: OperationsWriter
) -> Response:
    """Do one thing with several transfers, batches and runs of standing orders; safe to repeat.

    Each has an outcome of its own in the answer. Where more are stuck than one request acts on, the
    same request again goes on with those that still are.
    """
    asked = ActionRequest(
        action=body.action,
        reason=body.reason,
        actor=principal.actor,
        requested_by=principal.api_key_id,
        is_preview=body.preview,
    )
    has_more = False
    ids = list(body.ids or ())
    if body.stuck is not None:
        ids, has_more = await context.operator_desk.selection(
            body.stuck.to_filter(), body.stuck.cause
        )
    results = await context.operator_desk.act_on_all(ids, asked)
    return answer(
        BulkActionView(
            preview=body.preview,
            data=[ActionView.of(result) for result in results],
            has_more=has_more,
        )
    )


def _view(context: ApiContext, found: Judgement) -> StuckView:
    run_id = found.sight.run_id if found.sight else None
    url = context.workflow_url(found.candidate.workflow_id, run_id) if run_id else None
    return StuckView.of(found, url)


def cursor_of(position: StuckPosition) -> str:
    """Give the cursor of what comes behind a position of the list."""
    parts = (position.since.isoformat(), str(position.amount_minor), str(position.id))
    return urlsafe_b64encode(_SEPARATOR.join(parts).encode()).decode()
