"""The overview."""

from typing import Annotated

from fastapi import Query, Request, Response

from api.console import readings
from api.console.charts import activity_chart, latency_chart, sampled_chart
from api.console.pages import LIVE_SECONDS, page
from api.console.routing import console_router
from api.console.visitors import TransfersVisitor
from api.context import Context
from domain.access import Scope
from domain.limits import SAMPLE_SECONDS
from services.overview import OverviewPeriod

router = console_router()


@router.get("/overview")
async def overview_page(
    request: Request,
    context: Context,
    visitor: TransfersVisitor,
    period: Annotated[OverviewPeriod, Query()] = OverviewPeriod.HOUR,
) -> Response:
    """Show how much goes through, how well, and what is under way, stuck, held and proved."""
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
        sample_seconds=SAMPLE_SECONDS,
        in_flight=sampled_chart(overview.sampled, readings.in_flight),
        held=readings.held_charts(overview),
        stuck=sampled_chart(overview.sampled, readings.stuck),
        proved=sampled_chart(overview.sampled, readings.proved),
        # Of all tenants, as the ledger is one: for operators.
        proofs=await context.proofs.status() if visitor.may(Scope.OPERATIONS_READ) else None,
    )
