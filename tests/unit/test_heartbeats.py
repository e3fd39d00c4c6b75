"""Activities that take long show that their worker lives, for as long as they run."""

import asyncio

from temporalio.testing import ActivityEnvironment

from activities.heartbeats import BEAT_SECONDS, beating
from workflows.standing_order import RECONCILIATION_HEARTBEAT_TIMEOUT


async def test_a_worker_gives_signs_of_life_until_its_work_is_done() -> None:
    beats, are_enough = 0, asyncio.Event()

    def count(*_details: object) -> None:
        nonlocal beats
        beats += 1
        if beats == 3:
            are_enough.set()

    async def work() -> None:
        async with beating(pause_seconds=0):
            await are_enough.wait()

    environment = ActivityEnvironment()
    environment.on_heartbeat = count
    await environment.run(work)
    told = beats
    for _ in range(3):
        await asyncio.sleep(0)
    assert told == beats


async def test_outside_of_an_activity_nobody_is_told() -> None:
    async with beating(pause_seconds=0):
        await asyncio.sleep(0)


def test_several_signs_of_life_fit_into_the_time_that_is_waited_for_one() -> None:
    assert RECONCILIATION_HEARTBEAT_TIMEOUT.total_seconds() > 5 * BEAT_SECONDS
