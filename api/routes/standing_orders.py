"""Standing orders."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, TypeAlias

from fastapi import Depends, Path, Query, Response
from pydantic import TypeAdapter, ValidationError

from api.auth import TransfersReader, TransfersWriter, guarded_router
from api.context import Context
from api.fields import Moment
from api.parameters import PAGE_SIZE, Cursor, IdempotencyKey, PageSize, bad_cursor
from api.responses import answer, answer_page, problems
from api.schemas import ListView
from api.standing_order_schemas import (
    RunView,
    StandingOrderCreate,
    StandingOrderDetail,
    StandingOrderView,
    StatusChange,
)
from domain.errors import StandingOrderNotFound
from domain.ids import StandingOrderId, parse_uuid
from domain.standing_orders import StandingOrderStatus

router = guarded_router("/v1/standing-orders", "standing orders")

_MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)
_CHANGE_PROBLEMS = problems(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)


async def _order_id(
    order: Annotated[str, Path(description="A standing order's UUID.")],
) -> StandingOrderId:
    uuid = parse_uuid(order)
    if uuid is None:
        raise StandingOrderNotFound(order)
    return StandingOrderId(uuid)


async def _before(
    cursor: Annotated[str | None, Query(json_schema_extra={"format": "date-time"})] = None,
) -> datetime | None:
    if cursor is None:
        return None
    try:
        return _MOMENT.validate_python(cursor)
    except ValidationError:
        raise bad_cursor() from None


OrderInPath: TypeAlias = Annotated[StandingOrderId, Depends(_order_id)]
TimeCursor: TypeAlias = Annotated[datetime | None, Depends(_before)]


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    response_model=StandingOrderDetail,
    responses=problems(HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
)
async def create_standing_order(
    body: StandingOrderCreate,
    context: Context,
    principal: TransfersWriter,
    idempotency_key: IdempotencyKey,
) -> Response:
    """Order money to be moved again and again, once for each Idempotency-Key.

    Each run is a transfer of its own with the key `<order id>:<scheduled time>`. The same request
    with the same key gets the same order, as it has become since.
    """
    detail = await context.standing_orders.create(
        principal.tenant_id,
        principal.api_key_id,
        body.to_request(idempotency_key),
        actor=principal.actor,
    )
    headers = {"Location": f"/v1/standing-orders/{detail.order.id}"}
    if detail.is_replay:
        headers["Idempotency-Replayed"] = "true"
    return answer(StandingOrderDetail.of_detail(detail), HTTPStatus.CREATED, headers)


@router.get("", response_model=ListView[StandingOrderView], responses=problems())
async def list_standing_orders(
    *,
    context: Context,
    principal: TransfersReader,
    cursor: Cursor,
    status: Annotated[StandingOrderStatus | None, Query()] = None,
    page_size: PageSize = PAGE_SIZE,
) -> Response:
    """Read standing orders, newest first."""
    page = await context.standing_orders.page(
        principal.tenant_id,
        status=status,
        after=None if cursor is None else StandingOrderId(cursor),
        limit=page_size,
    )
    return answer_page(page, StandingOrderView.of)


@router.get(
    "/{order}", response_model=StandingOrderDetail, responses=problems(HTTPStatus.NOT_FOUND)
)
async def get_standing_order(
    order: OrderInPath, context: Context, principal: TransfersReader
) -> Response:
    """Read a standing order with its last run and its next ones."""
    detail = await context.standing_orders.get(principal.tenant_id, order)
    return answer(StandingOrderDetail.of_detail(detail))


@router.get(
    "/{order}/runs", response_model=ListView[RunView], responses=problems(HTTPStatus.NOT_FOUND)
)
async def list_runs(
    order: OrderInPath,
    context: Context,
    principal: TransfersReader,
    cursor: TimeCursor,
    page_size: PageSize = PAGE_SIZE,
) -> Response:
    """Read the past runs of a standing order, the latest scheduled time first."""
    page = await context.standing_orders.runs(
        principal.tenant_id, order, before=cursor, limit=page_size
    )
    return answer_page(page, RunView.of)


@router.post("/{order}/pause", response_model=StandingOrderDetail, responses=_CHANGE_PROBLEMS)
async def pause_standing_order(
    order: OrderInPath,
    context: Context,
    principal: TransfersWriter,
    body: StatusChange | None = None,
) -> Response:
    """Make no runs until the order is resumed. Runs of the meantime are never made up for."""
    detail = await context.standing_orders.pause(
        principal.tenant_id,
        order,
        reason=body.reason if body else None,
        actor=principal.actor,
    )
    return answer(StandingOrderDetail.of_detail(detail))


@router.post("/{order}/resume", response_model=StandingOrderDetail, responses=_CHANGE_PROBLEMS)
async def resume_standing_order(
    order: OrderInPath,
    context: Context,
    principal: TransfersWriter,
    body: StatusChange | None = None,
) -> Response:
    """Make runs again, from now on."""
    detail = await context.standing_orders.resume(
        principal.tenant_id,
        order,
        reason=body.reason if body else None,
        actor=principal.actor,
    )
    return answer(StandingOrderDetail.of_detail(detail))


@router.post("/{order}/cancel", response_model=StandingOrderDetail, responses=_CHANGE_PROBLEMS)
async def cancel_standing_order(
    order: OrderInPath,
    context: Context,
    principal: TransfersWriter,
    body: StatusChange | None = None,
) -> Response:
    """Make no runs any more, for ever. A run that was begun before goes on."""
    detail = await context.standing_orders.cancel(
        principal.tenant_id,
        order,
        reason=body.reason if body else None,
        actor=principal.actor,
    )
    return answer(StandingOrderDetail.of_detail(detail))
