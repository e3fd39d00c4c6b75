"""What the benchmarks write past the service is a ledger like any other: it fits the schema."""

from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client

from benchmarks.choices import Contention
from benchmarks.filling import fill_ledger, fill_temporal
from benchmarks.load.open_loop import open_loop
from benchmarks.peers.pgbench import Pgbench
from benchmarks.stack import BenchStack, running_stack
from tests.support.waiting import until

SENT = 20
FILLED = 2_500
CLONED = 150
COMPLETED = "WorkflowType = 'TransferWorkflow' AND ExecutionStatus = 'Completed'"
ALWAYS_TRIGGERS = "SELECT count(*) FROM pg_trigger WHERE tgenabled = 'A' AND NOT tgisinternal"


@pytest.fixture(scope="module")
async def bench() -> AsyncIterator[BenchStack]:
    async with running_stack(seed=7, api_workers=1, report=lambda _line: None) as bench:
        yield bench


async def completed(bench: BenchStack) -> int:
    client = await Client.connect(bench.stack.info.temporal_address)
    return (await client.count_workflows(COMPLETED)).count


async def test_transfers_past_the_service_leave_a_ledger_that_adds_up(bench: BenchStack) -> None:
    triggers = await bench.execute(ALWAYS_TRIGGERS)
    bare = await Pgbench.bare_transfer(bench)(1)
    await fill_ledger(bench, FILLED)
    load = await open_loop(bench, Contention.ZIPF, per_second=SENT, seconds=1)
    await bench.idle()

    assert load.statuses == {"201": SENT}
    assert bare.failed == 0
    found = await bench.execute("SELECT count(*) FROM transfers WHERE state = 'SUCCESS'")
    assert found[0][0] == bare.done + FILLED + SENT
    assert await bench.execute(ALWAYS_TRIGGERS) == triggers
    assert await bench.problems() == []


async def test_temporal_takes_workflows_that_were_copied_into_its_database(
    bench: BenchStack,
) -> None:
    before = await completed(bench)
    await fill_temporal(bench, CLONED, first=0)

    async def is_there() -> bool:
        return await completed(bench) == before + CLONED

    await until(is_there)
    load = await open_loop(bench, Contention.DISTINCT, per_second=SENT, seconds=1)
    assert load.statuses == {"201": SENT}
    await bench.idle()
    assert await bench.problems() == []
