import asyncio
import random
from functools import partial

import pytest

from runtime.ordered_tasks import WAITING_FACTOR, OrderedTasks

SEED = 7


async def test_work_on_one_account_keeps_its_order_however_long_each_takes() -> None:
    chance = random.Random(SEED)  # noqa: S311 - nothing here is secret
    done: list[tuple[int, tuple[str, ...]]] = []

    async def work(number: int, names: tuple[str, ...], pauses: int) -> None:
        for _ in range(pauses):
            await asyncio.sleep(0)
        done.append((number, names))

    async with asyncio.TaskGroup() as group:
        tasks = OrderedTasks(group, at_once=5)
        for number in range(300):
            names = tuple(chance.sample("abcdef", chance.choice((1, 2))))
            await tasks.add(names, partial(work, number, names, chance.randrange(10)))

    assert len(done) == 300
    for name in "abcdef":
        numbers = [number for number, names in done if name in names]
        assert numbers == sorted(numbers)
    assert [number for number, _names in done] != list(range(300))


async def test_different_accounts_run_at_once_up_to_the_limit() -> None:
    running, most = 0, 0

    async def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    async with asyncio.TaskGroup() as group:
        tasks = OrderedTasks(group, at_once=4)
        for number in range(40):
            await tasks.add({f"account {number}"}, work)
    assert most == 4


async def test_a_busy_account_does_not_stop_the_others() -> None:
    release, other_is_done = asyncio.Event(), asyncio.Event()

    async def finish_other() -> None:
        other_is_done.set()

    async with asyncio.TaskGroup() as group:
        tasks = OrderedTasks(group, at_once=2)
        for _ in range(5):
            await tasks.add({"busy"}, release.wait)
        await tasks.add({"other"}, finish_other)
        await other_is_done.wait()
        release.set()


async def test_so_much_may_wait_and_no_more() -> None:
    release = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        tasks = OrderedTasks(group, at_once=2)
        for _ in range(2 * WAITING_FACTOR):
            await tasks.add({"busy"}, release.wait)
        one_more = asyncio.create_task(tasks.add({"other"}, release.wait))
        await asyncio.sleep(0.01)
        assert not one_more.done()
        release.set()
        await one_more


async def test_nothing_begins_behind_work_that_failed() -> None:
    begun: list[str] = []

    async def fail() -> None:
        await asyncio.sleep(0)
        raise LookupError

    async def work() -> None:
        begun.append("behind")

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            tasks = OrderedTasks(group, at_once=3)
            await tasks.add({"a"}, fail)
            await tasks.add({"a"}, work)

    with pytest.raises(ExceptionGroup) as ended:
        await run()
    assert ended.group_contains(LookupError)
    assert begun == []
