"""Processes of the API come and go while clients move money, and no client notices."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from runtime.child_process import SUCCESS
from runtime.composition import Services
from tests.support.api import Client, Json, new_key
from tests.support.command import Command
from tests.support.processes import alive, eventually
from tests.support.proof import require_clean_ledger
from tests.support.served import RawAnswer, RawClient, ServedApi, locked_balance, served_api
from tests.support.stack import Stack

CLIENTS = 12
PROCESSES = 2
AT_ONCE_SECONDS = 3.0


@pytest.fixture(scope="module")
async def served(stack: Stack, services: Services) -> AsyncIterator[ServedApi]:
    """Two processes behind one port."""
    async with served_api(stack, services.access, "--workers", str(PROCESSES)) as served:
        yield served


async def raw_clients(opened: AsyncExitStack, client: Client, count: int) -> list[RawClient]:
    return [await opened.enter_async_context(RawClient(client)) for _ in range(count)]


class Traffic:
    """Clients that move money one after another, some of them with pauses."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._is_ending = False
        self.answers: list[RawAnswer] = []

    async def move(self, number: int, source: Json, destination: Json) -> None:
        async with RawClient(self._client) as raw:
            while not self._is_ending:
                self.answers.append(await raw.transfer(source["id"], destination["id"]))
                await asyncio.sleep(0.4 if number % 3 == 0 else 0)

    async def answered(self, more: int) -> None:
        wanted = len(self.answers) + more
        await eventually(lambda: len(self.answers) >= wanted, f"{more} answers")

    def end(self) -> None:
        self._is_ending = True


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no cores to keep to here")
async def test_each_process_keeps_to_a_core_also_after_a_restart(
    stack: Stack, services: Services
) -> None:
    def cores(served: ServedApi) -> set[frozenset[int]]:
        return {frozenset(os.sched_getaffinity(pid)) for pid in served.processes()}

    mine = sorted(os.sched_getaffinity(0))
    expected = {frozenset({mine[number % len(mine)]}) for number in range(PROCESSES)}
    async with served_api(
        stack, services.access, "--workers", str(PROCESSES), API_PIN_TO_CORES="true"
    ) as served:
        assert cores(served) == expected
        served.signal(signal.SIGHUP)
        await eventually(lambda: bool(served.events("rolling_restart_done")), "the restart")
        assert cores(served) == expected


async def test_a_rolling_restart_fails_no_request(served: ServedApi, stack: Stack) -> None:
    before = served.processes()
    assert len(before) == PROCESSES
    async with served.client() as client:
        pairs = [
            (await client.account(overdraft_limit=10**6), await client.account())
            for _ in range(CLIENTS)
        ]
        traffic = Traffic(client)
        async with asyncio.TaskGroup() as moving:
            for number, pair in enumerate(pairs):
                moving.create_task(traffic.move(number, *pair))
            await traffic.answered(2 * CLIENTS)
            served.signal(signal.SIGHUP)
            await eventually(lambda: bool(served.events("rolling_restart_done")), "the restart")
            await traffic.answered(2 * CLIENTS)
            traffic.end()
        assert len(served.processes()) == PROCESSES
        assert not {*served.processes()} & {*before}
        assert {(answer.status, answer.body["state"]) for answer in traffic.answers} == {
            (201, "SUCCESS")
        }
        assert any(answer.is_last for answer in traffic.answers)
        moved = sum([await client.posted(destination["id"]) for _, destination in pairs])
        assert moved == len(traffic.answers)
    await require_clean_ledger(stack)


async def test_connections_are_shared_out_and_metrics_added_up(served: ServedApi) -> None:
    async with served.client() as client, AsyncExitStack() as opened:
        raws = await raw_clients(opened, client, 8)
        for raw in raws:
            await raw.get("/healthz")
        for raw in raws:
            # A route and status that nothing else in this module asks for.
            assert (await raw.get("/v1/users/nobody")).status == 404
        counted = [
            float(line.split()[-1])
            for line in (await client.http.get("/metrics")).text.splitlines()
            if line.startswith("transfers_http_requests_total")
            and 'route="/v1/users/{user}"' in line
        ]
        assert counted == [8.0]
        assert min(served.connections()) >= 3


async def test_one_key_on_two_processes_is_one_transfer_with_one_outcome(
    served: ServedApi,
) -> None:
    async with served.client() as client, AsyncExitStack() as opened:
        source, destination = await client.account(balance=1_000), await client.account()
        raws = await raw_clients(opened, client, 4)
        for raw in raws:
            await raw.get("/healthz")
        for _ in range(5):
            key = new_key()
            answers = await asyncio.gather(
                *(raw.transfer(source["id"], destination["id"], key=key) for raw in raws)
            )
            assert {answer.status for answer in answers} == {201}
            assert all(answer.body == answers[0].body for answer in answers)
        assert await client.posted(destination["id"]) == 5


async def test_a_process_that_is_killed_is_replaced(served: ServedApi) -> None:
    victim, survivor = served.processes()
    os.kill(victim, signal.SIGKILL)
    async with served.client() as client:
        await client.user()
    await eventually(lambda: bool(served.events("api_process_back")), "another process")
    [lost] = served.events("api_process_lost")
    assert (lost["pid"], lost["ending"]) == (victim, "was killed by SIGKILL")
    assert len(served.processes()) == PROCESSES
    assert survivor in served.processes()


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_stop_answers_what_was_asked_and_says_that_connections_end(
    stack: Stack, services: Services, workers: int
) -> None:
    async with served_api(stack, services.access, API_WORKERS=str(workers)) as served:
        pids = [served.part.pid, *served.processes()]
        async with served.client() as client, AsyncExitStack() as opened:
            source, destination = await client.account(balance=1_000), await client.account()
            *busy, idle = await raw_clients(opened, client, 5)
            for raw in (*busy, idle):
                assert not (await raw.get("/healthz")).is_last
            async with locked_balance(stack.database_url, source["id"]):
                moving = [
                    asyncio.create_task(raw.transfer(source["id"], destination["id"]))
                    for raw in busy
                ]
                await asyncio.sleep(0.5)
                served.signal(signal.SIGTERM)
                await asyncio.sleep(0.5)
                assert (await idle.get("/healthz")).is_last
                with pytest.raises(ConnectionRefusedError):
                    await idle.get("/healthz")
                assert not any(task.done() for task in moving)
            answers = await asyncio.gather(*moving)
            assert {(answer.status, answer.is_last) for answer in answers} == {(201, True)}
        assert await served.part.wait() == SUCCESS
        assert alive(pids) == []


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_second_signal_ends_at_once(stack: Stack, services: Services, workers: int) -> None:
    async with served_api(stack, services.access, API_WORKERS=str(workers)) as served:
        pids = [served.part.pid, *served.processes()]
        async with served.client() as client, RawClient(client) as raw:
            source, destination = await client.account(balance=1_000), await client.account()
            async with locked_balance(stack.database_url, source["id"]):
                moving = asyncio.create_task(raw.transfer(source["id"], destination["id"]))
                await asyncio.sleep(0.5)
                served.signal(signal.SIGTERM)
                await asyncio.sleep(0.5)
                served.signal(signal.SIGINT)
                async with asyncio.timeout(AT_ONCE_SECONDS):
                    assert await served.part.wait() == "ended with exit code 130"
                with pytest.raises((OSError, EOFError)):
                    await moving
        await eventually(lambda: alive(pids) == [], "the end of all processes")


async def test_processes_without_their_parent_finish_too(stack: Stack, services: Services) -> None:
    async with served_api(stack, services.access, "--workers", "2") as served:
        pids = served.processes()
        served.signal(signal.SIGKILL)
        await eventually(lambda: alive(pids) == [], "the end of the processes")


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"API_PORT": "taken"}, "The API cannot listen on 127.0.0.1:"),
        ({"TEMPORAL_NAMESPACE": "nowhere"}, "Temporal refuses: Namespace nowhere is not found"),
        ({"API_WORKERS": "64"}, "64 processes of the API use up to 1280 connections"),
        ({"API_WORKERS": "65"}, "API_WORKERS: Input should be less than or equal to 64"),
    ],
)
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_what_keeps_it_from_starting_is_told(
    stack: Stack, environment: dict[str, str], message: str, workers: str
) -> None:
    given = {
        "DATABASE_URL": stack.service_url,
        "TEMPORAL_ADDRESS": stack.temporal_address,
        "TEMPORAL_NAMESPACE": stack.temporal_namespace,
        "API_PORT": "0",
        "API_WORKERS": workers,
        **environment,
    }
    if given["API_PORT"] == "taken":
        given["API_PORT"] = stack.api_url.rpartition(":")[2]
    assert message in await Command(**given).refused("api")
