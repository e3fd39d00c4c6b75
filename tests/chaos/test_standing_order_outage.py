"""Standing orders through a time in which Temporal is away."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from api.standing_order_desk import StandingOrderDesk
from domain.errors import TemporalUnavailable
from domain.standing_orders import (
    IntervalSchedule,
    MissedRuns,
    RunState,
    StandingOrder,
    StandingOrderRequest,
    StandingOrderRun,
)
from runtime.composition import Services
from runtime.embedded_temporal import EmbeddedTemporal
from runtime.stack_files import throwaway_data_dir
from runtime.temporal import connect
from tests.support.order_workers import OrderGround, order_ground
from tests.support.waiting import until
from tests.support.wallets import make_wallets
from workflows.search_attributes import SEARCH_ATTRIBUTE_NAMES

AWAY = timedelta(seconds=5)
SECOND = timedelta(seconds=1)


@pytest.fixture
async def server() -> AsyncIterator[EmbeddedTemporal]:
    """A Temporal server of the test's own, to be killed."""
    with throwaway_data_dir() as folder:
        server = EmbeddedTemporal(folder, search_attributes=SEARCH_ATTRIBUTE_NAMES)
        await server.start()
        yield server
        await server.stop()


@pytest.mark.parametrize("policy", [MissedRuns.RUN_ALL, MissedRuns.RUN_LATEST])
async def test_runs_that_temporal_missed_are_made_up_for_as_the_order_says(
    server: EmbeddedTemporal, own_services: Services, policy: MissedRuns
) -> None:
    client = await connect(server.address, server.namespace)
    ground = order_ground(client, own_services, await make_wallets(own_services))
    order = await ground.order(missed_runs=policy)
    async with ground.worker():
        await until(lambda: has_run_after(ground, order, order.start_at - SECOND))
        await server.kill()
        killed_at = datetime.now(UTC)
        await until(lambda: has_passed(killed_at + AWAY))
        await server.start()
        back_at = datetime.now(UTC)
        await until(lambda: has_run_after(ground, order, back_at))
        await ground.cancel(order)

    runs = [run for run in await ground.runs(order) if run.scheduled_at < back_at]
    wanted = [order.start_at + count * SECOND for count in range(len(runs))]
    assert [run.scheduled_at for run in runs] == wanted
    assert runs[-1].scheduled_at > back_at - 2 * SECOND
    # So late that a later run was due as well, for certain.
    late = [run for run in runs if run.created_at > run.scheduled_at + 2 * SECOND]
    assert len(late) >= AWAY // SECOND - 2, [(run.scheduled_at, run.created_at) for run in runs]
    assert codes(late) == ({None} if policy is MissedRuns.RUN_ALL else {"superseded"})


async def test_an_order_that_was_made_without_temporal_is_driven_once_it_is_back(
    server: EmbeddedTemporal, own_services: Services
) -> None:
    client = await connect(server.address, server.namespace)
    wallets = await make_wallets(own_services)
    ground = order_ground(client, own_services, wallets)
    desk = StandingOrderDesk(
        orders=own_services.standing_orders,
        runs=own_services.standing_order_runs,
        schedules=ground.schedules,
    )
    hourly = StandingOrderRequest(
        wallets.request(), IntervalSchedule(3_600), None, None, MissedRuns.SKIP
    )
    key = (await own_services.access.list_keys(None))[0].id
    await server.kill()

    with pytest.raises(TemporalUnavailable):
        await desk.create(wallets.tenant_id, key, hourly)
    (order,) = (await desk.page(wallets.tenant_id, status=None, after=None, limit=9)).items
    while_away = await desk.get(wallets.tenant_id, order.id)
    await server.start()
    again = await desk.create(wallets.tenant_id, key, hourly)

    assert while_away.next_runs is None
    assert (again.order.id, again.is_replay) == (order.id, True)
    assert again.next_runs is not None
    assert again.next_runs[0] == order.start_at


async def has_run_after(ground: OrderGround, order: StandingOrder, time: datetime) -> bool:
    return any(
        run.scheduled_at > time and run.state is RunState.SUCCESS
        for run in await ground.runs(order)
    )


def codes(runs: list[StandingOrderRun]) -> set[str | None]:
    return {run.failure.code if run.failure else None for run in runs}


async def has_passed(time: datetime) -> bool:
    return datetime.now(UTC) > time
