"""Workers die at every boundary of every activity, and come back: there is one outcome.

All cases share a stack and run beside each other, each as a tenant of its own, before the tests
look at what became of them.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

import pytest

from runtime.composition import open_services
from runtime.temporal import TASK_QUEUE, connect, make_worker
from tests.chaos.crash_scenarios import SCENARIOS
from tests.chaos.crash_stage import COMING_BACK_SECONDS, Ground, Stage
from tests.chaos.crashing import ACTIVITIES, FOLDER_VARIABLE, Boundary
from tests.chaos.site import SitePlan, running_site
from tests.support.tenants import TenantMaker
from tests.support.waiting import until
from workflows.gateway import TransferGateway

PROGRAM: Final = (sys.executable, "-m", "tests.chaos.crashing")
WORKERS: Final = 3
STAGES_AT_ONCE: Final = 8
CASES_AT_ONCE: Final = 28
"""So many that most of them wait for what a dead worker had, and few for a place."""

OPEN_WORKFLOWS: Final = (
    "WorkflowType IN ('TransferWorkflow', 'TransferBatchWorkflow', 'StandingOrderWorkflow')"
    " AND ExecutionStatus = 'Running'"
)
"""Those of the cases; of the schedules' own there is always one on a busy machine."""

CASES: Final = [
    (name, boundary) for name, scenario in SCENARIOS.items() for boundary in scenario.boundaries
]
Outcomes = dict[tuple[str, Boundary], BaseException | None]


@dataclass(frozen=True, slots=True)
class Theatre:
    """The stack that all cases share, and what became of them."""

    ground: Ground
    api_pid: int
    outcomes: Outcomes


@pytest.fixture(scope="module")
async def theatre(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Theatre]:
    """Play all cases."""
    folder = tmp_path_factory.mktemp("crashes")
    environment = {"RUN_WORKER_IN_API": "false", FOLDER_VARIABLE: str(folder)}
    plan = SitePlan(apis=1, workers=WORKERS, program=PROGRAM, environment=environment)
    async with (
        running_site(plan) as site,
        open_services(site.service_url) as services,
        AsyncExitStack() as clients,
    ):
        temporal = await connect(site.temporal.address, site.temporal.namespace)
        make_tenant = TenantMaker(site.url_for_clients(), services.access, clients)
        ground = Ground(site, services, temporal, make_tenant, folder)
        api_pid = site.pids()["api-1"]
        setting, playing = asyncio.Semaphore(STAGES_AT_ONCE), asyncio.Semaphore(CASES_AT_ONCE)

        async def set_stage(name: str, boundary: Boundary) -> Stage:
            async with setting:
                return await Stage.set(ground, SCENARIOS[name].activity, boundary)

        async def play(name: str, stage: Stage) -> None:
            async with playing:
                await SCENARIOS[name].play(stage)
                # What another case's crash ended here first comes to its own a moment later.
                await until(stage.has_crashed, timeout_seconds=COMING_BACK_SECONDS)

        # All of them before the first crash.
        stages = await asyncio.gather(*(set_stage(*case) for case in CASES))
        plays = (play(name, stage) for (name, _), stage in zip(CASES, stages, strict=True))
        ends = await asyncio.gather(*plays, return_exceptions=True)
        yield Theatre(ground, api_pid, dict(zip(CASES, ends, strict=True)))


@pytest.mark.parametrize(
    ("name", "boundary"), [pytest.param(*case, id=f"{case[0]}-{case[1]}") for case in CASES]
)
def test_a_worker_that_dies_in_an_activity_leaves_one_outcome(
    theatre: Theatre, name: str, boundary: Boundary
) -> None:
    error = theatre.outcomes[name, boundary]
    if error is not None:
        raise error


async def test_the_invariants_hold_after_all_crashes(theatre: Theatre) -> None:
    ground = theatre.ground

    async def is_calm() -> bool:
        return not (await ground.temporal.count_workflows(OPEN_WORKFLOWS)).count

    async def is_proved() -> bool:
        status = await ground.services.proofs.status()
        return status.is_clean and status.sealing.unsealed_entries == 0

    await until(is_calm, timeout_seconds=COMING_BACK_SECONDS)
    await until(is_proved, timeout_seconds=COMING_BACK_SECONDS)
    assert await ground.site.violations() == []
    assert ground.site.unexpected_errors() == []
    assert ground.site.pids()["api-1"] == theatre.api_pid


def test_workers_die_in_every_activity_that_there_is(theatre: Theatre) -> None:
    ground, services = theatre.ground, theatre.ground.services
    worker = make_worker(
        ground.temporal,
        transactions=services.transactions,
        operations=services.operations,
        standing_orders=services.standing_orders,
        standing_order_runs=services.standing_order_runs,
        batches=services.batches,
        batch_posting=services.batch_posting,
        database=services.database,
        gateway=TransferGateway(ground.temporal, task_queue=TASK_QUEUE),
    )
    registered = {activity.__name__ for activity in worker.config()["activities"]}
    assert {name for names in ACTIVITIES.values() for name in names} == registered
    for activity in registered:
        boundaries = {
            boundary
            for scenario in SCENARIOS.values()
            if scenario.activity == activity
            for boundary in scenario.boundaries
        }
        assert boundaries == set(Boundary), activity
