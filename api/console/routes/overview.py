"""The overview."""

from typing import Annotated

from fastapi import Query, Request, Response

from api.console.charts import activity_chart, latency_chart
from api.console.pages import LIVE_SECONDS, page
from api.console.routing import console_router
from api.console.visitors import TransfersVisitor
from api.context import Context
from domain.access import Scope
from services.overview import OverviewPeriod

router = console_router()


@router.get("/overview")
async def overview_page(
    request: Request,
    context: Context,
    visitor: TransfersVisitor,
    period: Annotated[OverviewPeriod, Query()] = OverviewPeriod.HOUR,
) -> Response:
    """Show how much goes through, how well, and what is under way."""
    overview = await context.console.overview.read(visitor.tenant_id, period)
    return page(
        request,
        visitor,
        "overview.html",
        live_seconds=LIVE_SECONDS,
        overview=overview,
        periods=list(OverviewPeriod),
        activity=activity_chart(overview.steps),
        latency=latency_chart(overview.steps),
        # Of all tenants, as the ledger is one: for operators.
        proofs=await context.proofs.status() if visitor.may(Scope.OPERATIONS_READ) else None,
    )
