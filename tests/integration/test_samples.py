"""Samples of what no record tells afterwards, and the overview over time that is made of them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from temporalio.client import Client as TemporalClient

from domain.ids import TenantId
from domain.limits import SAMPLE_SECONDS, SAMPLES_KEPT_SECONDS
from domain.stuck import StuckCount
from persistence.samples import ProofSample, Sampled
from persistence.tenancy import EVERY_TENANT
from runtime.composition import Services
from services.overview import Overview, OverviewPeriod, OverviewService
from services.samples import SampleService
from services.stuck import StuckService
from tests.support.samples import sample, slot_ago
from tests.support.waiting import until
from tests.support.wallets import Wallets, make_wallets
from workflows.operations_gateway import OperationsGateway

AGE = 90


async def reserve(wallets: Wallets, amount_minor: int) -> None:
    """Reserve funds for a transfer that has no workflow."""
    request = wallets.changed(amount_minor, idempotency_key=f"key-{amount_minor}")
    prepared = await wallets.services.requests.prepare(wallets.tenant_id, request)
    await wallets.services.transactions.reserve(prepared.order)


async def overview(
    services: Services, tenant_id: TenantId, period: OverviewPeriod = OverviewPeriod.HOUR
) -> Overview:
    return await OverviewService(services.database).read(tenant_id, period)


def known(found: Overview) -> Sequence[Sampled]:
    return [step.sampled for step in found.sampled if step.sampled is not None]


async def test_a_sample_tells_what_is_in_flight_stuck_and_held_of_each_tenant(
    own_services: Services, temporal_client: TemporalClient
) -> None:
    services = own_services
    busy, idle = await make_wallets(services), await make_wallets(services)
    for amount in (20, 40):
        await reserve(busy, amount)
    gateway = OperationsGateway(temporal_client, task_queue="nobody")
    stuck = StuckService(services.database, gateway)

    async def are_stuck() -> bool:
        return (await stuck.count()).by_tenant == {busy.tenant_id: 2}

    await until(are_stuck)
    assert await SampleService(services.database, stuck, services.proofs).take()

    (found,) = known(await overview(services, busy.tenant_id))
    assert (found.in_flight, found.own_stuck, found.stuck) == (2, 2, 2)
    assert (found.is_stuck_whole, found.held_minor) == (True, {"EUR": 60})
    # Nothing of that ledger was proved yet.
    assert (found.violations, found.proof_age_seconds) == (0, None)
    (found,) = known(await overview(services, idle.tenant_id))
    assert (found.in_flight, found.own_stuck, found.stuck) == (0, 0, 2)
    assert found.held_minor == {}


async def test_a_slot_has_one_sample_however_often_it_is_taken(own_services: Services) -> None:
    wallets, slot = await make_wallets(own_services), slot_ago(minutes=30)
    assert await sample(own_services, slot)
    await reserve(wallets, 20)
    assert not await sample(own_services, slot)
    (found,) = known(await overview(own_services, wallets.tenant_id))
    assert (found.in_flight, found.held_minor) == (0, {})


async def test_a_step_shows_the_highest_of_its_samples_and_nothing_where_there_is_none(
    own_services: Services,
) -> None:
    wallets = await make_wallets(own_services)
    tenant_id = wallets.tenant_id
    early = slot_ago(minutes=30).replace(second=0)
    late = early + timedelta(seconds=SAMPLE_SECONDS)
    later = early + timedelta(minutes=2)
    await reserve(wallets, 20)
    await sample(own_services, early, StuckCount({tenant_id: 1}, is_whole=False))
    await reserve(wallets, 40)
    await sample(own_services, late, None, ProofSample(violations=2, age_seconds=AGE))
    await sample(own_services, later, None)

    found = await overview(own_services, tenant_id)

    assert found.sampled_step == timedelta(minutes=1)
    steps = {step.starts_at: step.sampled for step in found.sampled}
    assert steps[early] == Sampled(
        in_flight=2,
        stuck=1,
        own_stuck=1,
        is_stuck_whole=False,
        violations=2,
        proof_age_seconds=AGE,
        held_minor={"EUR": 60},
    )
    assert steps[early + timedelta(minutes=1)] is None
    last = steps[later]
    assert last is not None
    assert (last.stuck, last.own_stuck, last.is_stuck_whole) == (None, None, None)


async def test_no_step_is_shorter_than_what_a_sample_stands_for(own_services: Services) -> None:
    wallets = await make_wallets(own_services)
    await sample(own_services, slot_ago(minutes=2))
    found = await overview(own_services, wallets.tenant_id, OverviewPeriod.QUARTER_HOUR)
    assert found.sampled_step == timedelta(seconds=SAMPLE_SECONDS) > found.step
    assert len(known(found)) == 1
    # The step that has just begun has no sample, and is not shown as one without.
    assert len(found.sampled) == timedelta(minutes=15) // found.sampled_step - 1


async def test_samples_go_after_their_time_with_those_of_the_tenants(
    own_services: Services,
) -> None:
    wallets = await make_wallets(own_services)
    await reserve(wallets, 20)
    old = slot_ago(minutes=1) - timedelta(seconds=SAMPLES_KEPT_SECONDS)
    kept = slot_ago(minutes=-1) - timedelta(seconds=SAMPLES_KEPT_SECONDS)
    for slot in (old, kept):
        await sample(own_services, slot)
    async with own_services.database.transaction(EVERY_TENANT) as unit_of_work:
        assert await unit_of_work.samples.remove_old() == 1
    async with own_services.database.reading(wallets.tenant_id) as unit_of_work:
        found = await unit_of_work.samples.steps(
            wallets.tenant_id, datetime(2000, 1, 1, tzinfo=UTC), timedelta(seconds=SAMPLE_SECONDS)
        )
    assert {slot: step.in_flight for slot, step in found.items()} == {kept: 1}
    # The old one's rows went with it: its slot can be taken anew, and finds none.
    assert await sample(own_services, old)
