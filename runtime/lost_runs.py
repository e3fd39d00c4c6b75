"""Runs of standing orders that Temporal remembers and a restored database does not."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from activities.standing_order_contracts import RunOutcome
from domain.ids import StandingOrderId
from domain.standing_orders import StandingOrder, StandingOrderRun
from domain.transfers import Failure
from runtime.composition import Services
from workflows.standing_order_runs import StandingOrderRunGateway


@dataclass(frozen=True, slots=True)
class LostRun:
    """A run that was made and is not on record.

    Parameters
    ----------
    order
        ``None`` where the database does not know the standing order either.
    told
        What the run came to; ``None`` where its workflow ended without an outcome.
    """

    order_id: StandingOrderId
    scheduled_at: datetime
    order: StandingOrder | None
    told: RunOutcome | None
    at: datetime


async def lost_runs(
    services: Services, gateway: StandingOrderRunGateway, *, since: datetime
) -> AsyncIterator[LostRun]:
    """Compare the runs whose workflow ended since a time with the database.

    Raises
    ------
    DatabaseUnavailable, TemporalUnavailable
        A server does not answer; what was given until then holds.

    Notes
    -----
    A workflow that ended without an outcome may have ended before its run was on record; its
    transfer tells.
    """
    async for closed in gateway.closed_since(since):
        order, run, transfer = await services.standing_order_runs.find(
            closed.order_id, closed.scheduled_at
        )
        if run is None and (closed.outcome is not None or transfer is not None):
            yield LostRun(
                closed.order_id, closed.scheduled_at, order, closed.outcome, closed.closed_at
            )


async def record_run(services: Services, lost: LostRun) -> StandingOrderRun | None:
    """Put a run on record again; ``None`` where its order or its transfer is lost.

    Raises
    ------
    DatabaseUnavailable
        No connection, or the outcome is unknown; call again.
    """
    if lost.order is None:
        return None
    told = lost.told
    return await services.standing_order_runs.record_again(
        lost.order_id,
        lost.scheduled_at,
        told=told.state if told else None,
        failure=Failure(told.failure.code, told.failure.message) if told and told.failure else None,
    )
