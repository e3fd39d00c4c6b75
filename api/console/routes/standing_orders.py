"""Standing orders, and what can be changed about them."""

from typing import Annotated

from fastapi import Query, Request, Response

from api.console.pages import LIVE_SECONDS, PREFIX, done, page
from api.console.reasons import reason_of
from api.console.routing import console_router
from api.console.visitors import Form, TransfersEditor, TransfersVisitor
from api.context import Context
from api.parameters import PAGE_SIZE, Cursor
from api.routes.standing_orders import OrderInPath, TimeCursor
from domain.ids import StandingOrderId
from domain.standing_orders import StandingOrderStatus

router = console_router()


@router.get("/standing-orders")
async def order_list(
    request: Request,
    context: Context,
    visitor: TransfersVisitor,
    cursor: Cursor,
    status: Annotated[str, Query()] = "",
) -> Response:
    """Show standing orders, newest first."""
    wanted = StandingOrderStatus(status) if status in set(StandingOrderStatus) else None
    orders = await context.standing_orders.page(
        visitor.tenant_id,
        status=wanted,
        after=None if cursor is None else StandingOrderId(cursor),
        limit=PAGE_SIZE,
    )
    accounts = {o.source_account_id for o in orders.items}
    accounts |= {o.destination_account_id for o in orders.items}
    return page(
        request,
        visitor,
        "standing_orders.html",
        live_seconds=LIVE_SECONDS if cursor is None else None,
        orders=orders,
        labels=await context.console.details.label_accounts(visitor.tenant_id, accounts),
        status=wanted,
        statuses=list(StandingOrderStatus),
        is_first=cursor is None,
    )


@router.get("/standing-orders/{order}")
async def order_page(
    request: Request,
    context: Context,
    visitor: TransfersVisitor,
    order: OrderInPath,
    cursor: TimeCursor,
) -> Response:
    """Show a standing order with its runs."""
    detail = await context.standing_orders.get(visitor.tenant_id, order)
    runs = await context.standing_orders.runs(
        visitor.tenant_id, order, before=cursor, limit=PAGE_SIZE
    )
    found = detail.order
    labels = await context.console.details.label_accounts(
        visitor.tenant_id,
        {found.source_account_id, found.destination_account_id},
        {found.created_by},
    )
    return page(
        request,
        visitor,
        "standing_order.html",
        live_seconds=LIVE_SECONDS if cursor is None else None,
        detail=detail,
        order=found,
        runs=runs,
        labels=labels,
        is_first=cursor is None,
    )


@router.post("/standing-orders/{order}/pause")
async def pause_order(
    request: Request, context: Context, visitor: TransfersEditor, order: OrderInPath, form: Form
) -> Response:
    """Make no runs until the order is resumed."""
    reason = reason_of(form)
    await context.standing_orders.pause(visitor.tenant_id, order, reason=reason)
    return done(request, f"{PREFIX}/standing-orders/{order}", "Paused: it makes no run for now.")


@router.post("/standing-orders/{order}/resume")
async def resume_order(
    request: Request, context: Context, visitor: TransfersEditor, order: OrderInPath, _form: Form
) -> Response:
    """Make runs again, from now on."""
    await context.standing_orders.resume(visitor.tenant_id, order)
    return done(request, f"{PREFIX}/standing-orders/{order}", "Resumed: it runs from now on.")


@router.post("/standing-orders/{order}/cancel")
async def cancel_order(
    request: Request, context: Context, visitor: TransfersEditor, order: OrderInPath, form: Form
) -> Response:
    """Make no runs any more."""
    reason = reason_of(form)
    await context.standing_orders.cancel(visitor.tenant_id, order, reason=reason)
    return done(request, f"{PREFIX}/standing-orders/{order}", "Cancelled, for ever.")
