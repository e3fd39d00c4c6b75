"""The search for what is stuck: its order, its pages, and what it says when Temporal is away."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from temporalio.client import Client as TemporalClient

from domain.errors import TemporalUnavailable
from domain.stuck import StuckCause, StuckKind
from domain.transfers import Failure, Transfer
from persistence.stuck import StuckFilter, StuckOrder, StuckPosition
from runtime.composition import Services
from runtime.embedded_temporal import EmbeddedTemporal
from runtime.stack_files import throwaway_data_dir
from runtime.temporal import connect
from services.overview import OverviewPeriod, OverviewService
from services.samples import SampleService
from services.stuck import StuckService
from tests.support.order_workers import order_ground
from tests.support.waiting import until
from tests.support.wallets import Wallets, make_wallets
from workflows.operations_gateway import OperationsGateway
from workflows.search_attributes import SEARCH_ATTRIBUTE_NAMES


def search(client: TemporalClient, services: Services) -> StuckService:
    return StuckService(services.database, OperationsGateway(client, task_queue="nobody"))


async def reserved(services: Services, wallets: Wallets, amount_minor: int, key: str) -> Transfer:
    """Reserve funds for a transfer that has no workflow."""
    request = wallets.changed(amount_minor, idempotency_key=key)
    prepared = await services.requests.prepare(wallets.tenant_id, request)
    return await services.transactions.reserve(prepared.order)


async def found(
    stuck: StuckService, order: StuckOrder, limit: int, **wanted: StuckFilter
) -> list[tuple[str, StuckCause | None]]:
    """Walk through all pages."""
    items: list[tuple[str, StuckCause | None]] = []
    position: StuckPosition | None = None
    while True:
        page = await stuck.page(
            wanted.get("wanted", StuckFilter()), order, after=position, limit=limit
        )
        assert len(page.items) <= limit
        items += [(str(item.candidate.id), item.cause) for item in page.items]
        position = page.next_position
        if position is None:
            return items


async def test_pages_give_each_once_the_oldest_or_the_largest_first(
    own_services: Services, temporal_client: TemporalClient
) -> None:
    services, wallets = own_services, await make_wallets(own_services)
    stuck = search(temporal_client, services)
    made = [
        await reserved(services, wallets, amount, f"key-{amount}") for amount in (20, 50, 10, 40)
    ]

    async def is_all_found() -> bool:
        return len(await found(stuck, StuckOrder.AGE, 10)) == len(made)

    await until(is_all_found)
    lost = StuckCause.WORKFLOW_LOST
    for limit in (1, 3, 10):
        by_age = await found(stuck, StuckOrder.AGE, limit)
        assert by_age == [(str(transfer.id), lost) for transfer in made]
        by_amount = await found(stuck, StuckOrder.AMOUNT, limit)
        largest = sorted(made, key=lambda transfer: -transfer.money.amount_minor)
        assert by_amount == [(str(transfer.id), lost) for transfer in largest]
    assert await found(stuck, StuckOrder.AGE, 3, wanted=StuckFilter(currency="USD")) == []
    for transfer in made:
        failure = Failure("cancelled", "the test is over")
        await services.transactions.compensate(wallets.tenant_id, transfer.id, failure)
    assert await found(stuck, StuckOrder.AGE, 3) == []


async def test_a_run_of_a_standing_order_without_its_workflow_is_found(
    own_services: Services, temporal_client: TemporalClient
) -> None:
    wallets = await make_wallets(own_services)
    ground = order_ground(temporal_client, own_services, wallets)
    start = datetime.now(UTC).replace(microsecond=0)
    order = await ground.order(seconds=60, scheduled=False, start_at=start + timedelta(seconds=60))
    time = start + timedelta(seconds=60)
    await own_services.standing_order_runs.decide(order.id, time, due=[time], now=time)
    stuck = search(temporal_client, own_services)

    async def is_found() -> bool:
        page = await stuck.page(
            StuckFilter(kind=StuckKind.STANDING_ORDER_RUN), StuckOrder.AGE, after=None, limit=10
        )
        return [
            (item.candidate.id, item.candidate.scheduled_at, item.cause) for item in page.items
        ] == [(order.id, time, StuckCause.WORKFLOW_LOST)]

    await until(is_found)


async def test_with_temporal_away_the_database_tells_what_it_knows(
    own_services: Services,
) -> None:
    wallets = await make_wallets(own_services)
    with throwaway_data_dir() as folder:
        client = await passing_client(folder)
    transfer = await reserved(own_services, wallets, 100, "key")
    stuck = search(client, own_services)

    page = await stuck.page(StuckFilter(), StuckOrder.AGE, after=None, limit=10)

    assert not page.is_complete
    assert page.items == []

    async def is_found() -> bool:
        page = await stuck.page(StuckFilter(), StuckOrder.AGE, after=None, limit=10)
        return [(item.candidate.id, item.cause) for item in page.items] == [
            (transfer.id, StuckCause.TEMPORAL_UNAVAILABLE)
        ]

    await until(is_found, timeout_seconds=60)
    with pytest.raises(TemporalUnavailable):
        await stuck.count()
    assert await SampleService(own_services.database, stuck, own_services.proofs).take()
    overview = OverviewService(own_services.database)
    last = (await overview.read(wallets.tenant_id, OverviewPeriod.HOUR)).sampled[-1].sampled
    assert last is not None
    assert (last.in_flight, last.stuck, last.own_stuck) == (1, None, None)


async def passing_client(folder: Path) -> TemporalClient:
    """Give a client of a server that is gone."""
    server = EmbeddedTemporal(folder, search_attributes=SEARCH_ATTRIBUTE_NAMES)
    await server.start()
    try:
        return await connect(server.address, server.namespace)
    finally:
        await server.stop()
