"""Runs of standing orders in a database as it was at an earlier point."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.client import Client as TemporalClient
from temporalio.client import ScheduleBackfill

from domain.ids import TransferId
from domain.standing_orders import (
    MissedRuns,
    RunState,
    StandingOrder,
    StandingOrderRun,
    run_workflow_id,
    schedule_id,
)
from runtime.lost_runs import LostRun, lost_runs, record_run
from runtime.restoration import lost_outcomes, repeat
from tests.support.order_workers import OrderGround, order_ground
from tests.support.postgres import PostgresServer
from tests.support.restored import Restorable
from tests.support.standing_orders import LONG_AGO, now
from tests.support.waiting import until
from tests.support.wallets import Wallets, make_wallets
from workflows.gateway import TransferGateway
from workflows.standing_order_runs import StandingOrderRunGateway

SECOND = timedelta(seconds=1)
HOUR_SECONDS = 3_600
AMOUNT_MINOR = 100


@pytest.fixture
async def database(postgres: PostgresServer) -> AsyncIterator[Restorable]:
    async with postgres.database() as url:
        yield Restorable(postgres, url)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the reconciliation wait for nobody."""
    monkeypatch.setattr("activities.standing_orders.IDLE_SECONDS", 0.0)


class Story:
    """One order with one run, made before the restore or after the point that is restored to."""

    def __init__(self, client: TemporalClient) -> None:
        self.client = client
        self.task_queue = f"test-{secrets.token_hex(6)}"
        self.began_at = datetime.now(UTC)
        self.runs = StandingOrderRunGateway(client)
        self.gateway = TransferGateway(client, task_queue=self.task_queue)

    @asynccontextmanager
    async def ground(
        self, at: Restorable, wallets: Wallets | None = None
    ) -> AsyncIterator[OrderGround]:
        async with at.services() as services:
            own = replace(wallets, services=services) if wallets else await make_wallets(services)
            yield order_ground(self.client, services, own, task_queue=self.task_queue)

    async def run(self, ground: OrderGround, order: StandingOrder) -> StandingOrderRun:
        """Let the schedule make the run, and wait until its workflow has ended."""
        async with ground.worker():
            await ground.schedules.align(order, since=order.start_at - SECOND)
            workflow_id = run_workflow_id(order.id, order.start_at)

            async def is_closed() -> bool:
                return await self.gateway.closed_status(workflow_id) == "COMPLETED"

            await until(is_closed)
        (run,) = await ground.runs(order)
        assert run.state is RunState.SUCCESS
        return run

    async def lost(self, ground: OrderGround, order: StandingOrder) -> list[LostRun]:
        found = lost_runs(ground.services, self.runs, since=self.began_at)
        return [each async for each in found if each.order_id == order.id]

    async def leave(self, order: StandingOrder) -> None:
        """Leave no schedule behind."""
        await self.client.get_schedule_handle(schedule_id(order.id)).delete()


@pytest.fixture
def story(temporal_client: TemporalClient) -> Story:
    return Story(temporal_client)


async def require_made_once(
    ground: OrderGround, order: StandingOrder, transfer_id: TransferId | None
) -> None:
    """Wait for the run's outcome: the success that was told, with its one transfer."""

    async def is_settled() -> bool:
        await ground.steps.reconcile_standing_orders()
        return [run.state for run in await ground.runs(order)] == [RunState.SUCCESS]

    await until(is_settled)
    (run,) = await ground.runs(order)
    assert run.transfer_id == transfer_id
    assert await ground.wallets.amounts() == (-AMOUNT_MINOR, 0, AMOUNT_MINOR)


@pytest.mark.parametrize("is_reserved", [False, True], ids=["lost", "reserved"])
async def test_a_run_that_was_under_way_at_the_point_comes_to_what_was_told(
    database: Restorable, story: Story, *, is_reserved: bool
) -> None:
    async with story.ground(database) as before:
        wallets = before.wallets
        order = await before.order(seconds=HOUR_SECONDS, start_at=now(), scheduled=False)
        decided = await before.services.standing_order_runs.decide(
            order.id, order.start_at, due=[order.start_at], now=order.start_at
        )
        assert decided.transfer is not None
        if is_reserved:
            await before.services.transactions.reserve(decided.transfer)
    async with database.backed_up() as backup:
        async with story.ground(database, wallets) as later:
            told = await story.run(later, order)
        async with story.ground(backup, wallets) as earlier, earlier.worker():
            await require_made_once(earlier, order, told.transfer_id)
    await story.leave(order)


@pytest.mark.parametrize("way", ["by the command", "by its schedule"])
async def test_a_run_that_was_lost_altogether_is_made_once_and_on_record_again(
    database: Restorable, story: Story, way: str
) -> None:
    async with story.ground(database) as before:
        wallets = before.wallets
        order = await before.order(seconds=HOUR_SECONDS, start_at=now(), scheduled=False)
    async with database.backed_up() as backup:
        async with story.ground(database, wallets) as later:
            told = await story.run(later, order)
        async with story.ground(backup, wallets) as earlier, earlier.worker():

            async def is_found() -> bool:
                return [lost.scheduled_at for lost in await story.lost(earlier, order)] == [
                    order.start_at
                ]

            await until(is_found)
            (lost,) = await story.lost(earlier, order)
            assert lost.told is not None
            assert lost.told.state is RunState.SUCCESS
            if way == "by the command":
                # Its transfer first: a run tells of what has moved.
                assert await record_run(earlier.services, lost) is None
                await carry_out_anew(story, earlier)
                assert await record_run(earlier.services, lost) is not None
            else:
                handle = story.client.get_schedule_handle(schedule_id(order.id))
                first = order.start_at
                await handle.backfill(ScheduleBackfill(first - SECOND, first))

                async def is_on_record() -> bool:
                    return bool(await earlier.runs(order))

                await until(is_on_record)
            await require_made_once(earlier, order, told.transfer_id)
            assert await story.lost(earlier, order) == []
    await story.leave(order)


async def carry_out_anew(story: Story, ground: OrderGround) -> None:
    found = lost_outcomes(ground.services, story.gateway, since=story.began_at)
    own = [each async for each in found if each.order.tenant_id == ground.wallets.tenant_id]
    assert [each.can_be_repeated for each in own] == [True]
    assert (await repeat(ground.services, story.gateway, own[0])).is_as_told


async def test_a_run_whose_transfer_is_there_is_not_skipped_for_being_late(
    database: Restorable, story: Story
) -> None:
    async with story.ground(database) as before:
        wallets = before.wallets
        order = await before.order(
            seconds=HOUR_SECONDS, start_at=now(), scheduled=False, missed_runs=MissedRuns.SKIP
        )
    async with database.backed_up() as backup:
        async with story.ground(database, wallets) as later:
            told = await later.services.standing_order_runs.decide(
                order.id, order.start_at, due=[order.start_at], now=order.start_at
            )
        async with story.ground(backup, wallets) as earlier:
            assert told.transfer is not None
            await earlier.services.transactions.reserve(told.transfer)
            decided = await earlier.services.standing_order_runs.decide(
                order.id, order.start_at, due=[order.start_at], now=order.start_at + LONG_AGO
            )
    assert decided.run.state is RunState.PROCESSING
