"""Real parts of a real stack are killed and stopped while clients move money.

The clients' orders come from a seed, which the summary prints; ``FAULT_SEED`` sets it.
"""

import asyncio
import os
import random
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from temporalio.api.enums.v1 import PendingWorkflowTaskState
from temporalio.service import RPCError

from domain.access import CLIENT_SCOPES
from runtime.composition import open_services
from runtime.local import make_local_stack
from runtime.local_stack import LocalStack
from runtime.stack_files import throwaway_data_dir
from runtime.stack_options import LocalStackOptions
from runtime.temporal import connect
from runtime.verification import verify
from tests.conftest import SERVERS
from tests.support.api import Client, Json, new_key, problem_of
from tests.support.load import (
    LOST,
    Load,
    Record,
    found_town,
    require_books,
    require_transfers,
    seeded,
)
from tests.support.processes import alive
from tests.support.rows import rows_of_tenant
from tests.support.stack import UNEXPECTED
from tests.support.waiting import until
from workflows.gateway import RPC_TIMEOUT

pytestmark = pytest.mark.fault

SEED_VARIABLE = "FAULT_SEED"
SEEDS = 10**6
COMING_BACK_SECONDS = 60.0
INVARIANTS = 7
LOG_LINES = 40
NO_DATABASE = "database_unavailable"
NO_TEMPORAL = "temporal_unavailable"
OPEN_WORKFLOWS = "WorkflowType = 'TransferWorkflow' AND ExecutionStatus = 'Running'"
PARTS_IN_ORDER = ("postgres", "temporal", "api", "worker")


@dataclass(frozen=True, slots=True)
class Site:
    """A stack of these tests' own, whose parts they may break."""

    stack: LocalStack
    folder: Path

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """Give a client of a new tenant."""
        async with open_services(self.stack.info.database_url) as services:
            key, secret = await services.access.create_key(
                tenant_name=secrets.token_hex(6), name="test", scopes=CLIENT_SCOPES
            )
        async with Client(self.stack.info.api_url, secret, key) as client:
            yield client

    async def crash(self, *parts: str, number: signal.Signals = signal.SIGKILL) -> None:
        """End parts from outside, and wait until their supervisor has brought them back."""
        ended = {part: self.stack.info.pids[part] for part in parts}
        for pid in ended.values():
            os.kill(pid, number)
        await self._await_successors(ended)

    async def take_away(
        self, part: str, *, kill: bool, meanwhile: Callable[[], Awaitable[None]]
    ) -> None:
        """Stop or kill a part, keep it away until something has happened, and start it again."""
        ended = {part: self.stack.info.pids[part]}
        await (self.stack.kill_part(part) if kill else self.stack.stop_part(part))
        assert alive(ended.values()) == []
        await meanwhile()
        await self.stack.start_part(part)
        await self._await_successors(ended)

    async def cut_power(self) -> None:
        """Kill all parts together, and start them again."""
        ended = dict(self.stack.info.pids)
        await asyncio.gather(*(self.stack.kill_part(part) for part in PARTS_IN_ORDER))
        assert alive(ended.values()) == []
        for part in PARTS_IN_ORDER:
            await self.stack.start_part(part)
        await self._await_successors(ended)

    async def _await_successors(self, ended: dict[str, int]) -> None:
        async def are_back() -> bool:
            pids = self.stack.info.pids
            return all(pids[part] != pid for part, pid in ended.items()) and await self.is_ready()

        await until(are_back, timeout_seconds=COMING_BACK_SECONDS)
        assert alive(ended.values()) == []

    async def is_ready(self) -> bool:
        return await self.status("/readyz") == httpx.codes.OK

    async def status(self, path: str) -> int:
        """Ask the service for its own state; 0 where nobody listens."""
        async with httpx.AsyncClient(base_url=self.stack.info.api_url, trust_env=False) as http:
            try:
                return (await http.get(path)).status_code
            except httpx.TransportError:
                return 0

    async def violations(self, *, while_moving: bool = False) -> list[object]:
        """Prove the invariants; while money moves, those that hold at every moment."""
        info = self.stack.info
        report = await verify(
            info.database_url,
            temporal_address=info.temporal_address,
            temporal_namespace=info.temporal_namespace,
        )
        assert len(report.checks) == INVARIANTS
        return [
            (check.name, violation)
            for check in report.checks
            for violation in check.violations
            if not (while_moving and check.name == "workflows")
        ]

    def unexpected_errors(self) -> list[str]:
        return [line for line in self._log("api") if UNEXPECTED in line]

    def log_tails(self) -> str:
        """Give the last lines that each part wrote."""
        tails = {part: self._log(part)[-LOG_LINES:] for part in PARTS_IN_ORDER}
        return "".join(f"{part}: {line}\n" for part, lines in tails.items() for line in lines)

    def _log(self, part: str) -> list[str]:
        return (self.folder / "logs" / f"{part}.log").read_text(errors="replace").splitlines()


@dataclass(frozen=True, slots=True)
class Trial:
    """Clients of one tenant that move money on a site, and the proof of what became of it."""

    site: Site
    client: Client
    load: Load
    rng: random.Random

    async def get_going(self) -> list[Record]:
        """Wait until some orders are done and others are under way, and give these."""
        await self.load.acknowledge(self.rng.randint(5, 20))
        return await self.load.busy()

    async def prove(self) -> None:
        """Bring every order to its outcome, and hold all outcomes against the ledger."""
        assert await self.site.violations(while_moving=True) == []
        await self.load.resolve()
        await self.load.repeat()
        await self._settle()
        await require_books(self.client, self.load.records)
        await require_transfers(self.client, self.load.records)
        assert await self.site.violations() == []
        assert self.site.unexpected_errors() == []

    async def held_tasks(self, records: list[Record]) -> int:
        """Count the orders whose workflow's task is with a worker just now."""
        info = self.site.stack.info
        temporal = await connect(info.temporal_address, info.temporal_namespace)
        held = 0
        for record in records:
            workflow_id = f"{self.client.tenant_id}:{record.order.key}"
            # Its start may not have reached Temporal yet.
            with suppress(RPCError):
                description = await temporal.get_workflow_handle(workflow_id).describe()
                task = description.raw_description.pending_workflow_task
                held += task.state == PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_STARTED
        return held

    async def _settle(self) -> None:
        """Wait until no transfer and no workflow is under way."""
        info = self.site.stack.info
        temporal = await connect(info.temporal_address, info.temporal_namespace)

        async def is_settled() -> bool:
            processing = (await self.client.get("/transfers", state="PROCESSING"))["data"]
            return not processing and not (await temporal.count_workflows(OPEN_WORKFLOWS)).count

        await until(is_settled, timeout_seconds=COMING_BACK_SECONDS)


@asynccontextmanager
async def running_site(**environment: str) -> AsyncIterator[Site]:
    with throwaway_data_dir() as folder:
        options = LocalStackOptions.on_free_ports(folder)
        async with make_local_stack(options, environment=environment) as stack:
            yield Site(stack, folder)


@asynccontextmanager
async def trial_on(site: Site, seed: int) -> AsyncIterator[Trial]:
    async with site.client() as client:
        load = Load(client, await found_town(client), seeded(seed, "orders"))
        try:
            yield Trial(site, client, load, seeded(seed, "faults"))
        finally:
            # Shown where the test fails; the files themselves are thrown away.
            sys.stdout.write(site.log_tails())


@pytest.fixture(scope="module")
def seed(pytestconfig: pytest.Config) -> int:
    seed = int(os.environ.get(SEED_VARIABLE) or secrets.randbelow(SEEDS))
    pytestconfig.stash[SERVERS].append(f"Faults: {SEED_VARIABLE}={seed}")
    return seed


@pytest.fixture(scope="module")
async def site() -> AsyncIterator[Site]:
    async with running_site() as site:
        yield site


@pytest.fixture
async def trial(site: Site, seed: int) -> AsyncIterator[Trial]:
    async with trial_on(site, seed) as trial:
        yield trial


async def test_killing_the_api_and_the_worker_loses_and_doubles_nothing(trial: Trial) -> None:
    rounds = trial.rng.sample([("api",), ("worker",)] * 2 + [("api", "worker")], 5)
    async with trial.load.running():
        for victims in rounds:
            hit = await trial.get_going()
            await trial.site.crash(*victims)
            if "api" in victims:
                assert [record for record in hit if LOST in record.disturbances]
        await trial.load.acknowledge(5)
    await trial.prove()


async def test_killing_the_only_worker_loses_and_doubles_nothing(seed: int) -> None:
    held_by_the_dead: list[int] = []
    async with running_site(RUN_WORKER_IN_API="false") as site, trial_on(site, seed) as trial:

        async def look() -> None:
            held_by_the_dead.append(await trial.held_tasks(hit))

        async with trial.load.running():
            for _ in range(3):
                hit = await trial.get_going()
                await site.take_away("worker", kill=True, meanwhile=look)
        await trial.prove()
    assert sum(held_by_the_dead) > 0


async def test_stopping_and_crashing_postgresql_loses_and_doubles_nothing(trial: Trial) -> None:
    load, site = trial.load, trial.site
    async with load.running():
        for number in trial.rng.sample([signal.SIGQUIT, signal.SIGKILL] * 2, 4):
            # SIGQUIT is PostgreSQL's immediate shutdown.
            await trial.get_going()
            await site.crash("postgres", number=number)
        assert load.disturbances()[NO_DATABASE] > 0
        for kill in (False, True):
            await trial.get_going()
            await site.take_away("postgres", kill=kill, meanwhile=lambda: load.disturb(NO_DATABASE))
        await load.acknowledge(5)
    await trial.prove()


async def test_stopping_and_killing_temporal_loses_and_doubles_nothing(trial: Trial) -> None:
    load, site = trial.load, trial.site
    async with load.running():
        for kill in trial.rng.sample([False, True], 2):
            await trial.get_going()
            await site.take_away("temporal", kill=kill, meanwhile=lambda: load.disturb(NO_TEMPORAL))
        await load.acknowledge(5)
    await trial.prove()


async def test_a_power_cut_loses_and_doubles_nothing(trial: Trial) -> None:
    async with trial.load.running():
        hit = await trial.get_going()
        await trial.site.cut_power()
        await trial.load.acknowledge(5)
    assert [record for record in hit if LOST in record.disturbances]
    await trial.prove()


@pytest.mark.parametrize("part", ["postgres", "temporal"])
async def test_while_a_server_is_away_requests_are_put_off_and_nothing_is_half_done(
    site: Site, part: str
) -> None:
    code = {"postgres": NO_DATABASE, "temporal": NO_TEMPORAL}[part]
    database_url = site.stack.info.database_url
    async with site.client() as client:
        account = await client.account(balance=1_000)
        order: Json = withdrawal(account, 400)
        rows = await rows_of_tenant(database_url, client.tenant_id)

        async def look() -> None:
            preferences = [{"Prefer": "wait=10"}, {"Prefer": "respond-async"}]
            async with asyncio.timeout(RPC_TIMEOUT.total_seconds()):
                responses = await asyncio.gather(
                    *(client.post_transfer(headers=headers, **order) for headers in preferences)
                )
            for response in responses:
                problem_of(response, 503, code)
                assert int(response.headers["Retry-After"]) > 0
            assert await site.status("/readyz") == 503
            assert await site.status("/healthz") == 200

        await site.take_away(part, kill=False, meanwhile=look)
        assert await site.status("/healthz") == 200
        assert await rows_of_tenant(database_url, client.tenant_id) == rows
        transfer = await client.transfer(**order)
        assert await client.transfer(**order) == transfer
        assert await client.posted(account["id"]) == 600
        assert len((await client.get(f"/accounts/{account['id']}/entries"))["data"]) == 2


async def test_what_is_known_can_be_read_and_repeated_while_temporal_is_away(site: Site) -> None:
    async with site.client() as client:
        account = await client.account(balance=1_000)
        orders = withdrawal(account, 1), withdrawal(account, 5_000)
        made, refused = [await client.post_transfer(**order) for order in orders]
        problem_of(refused, 422, "insufficient_funds")

        async def look() -> None:
            for first, order in zip((made, refused), orders, strict=True):
                again = await client.post_transfer(**order)
                assert again.headers["Idempotency-Replayed"] == "true"
                assert (again.status_code, again.json()) == (first.status_code, first.json())
            assert await client.get(f"/transfers/{made.json()['id']}") == made.json()
            assert await client.posted(account["id"]) == 999

        await site.take_away("temporal", kill=True, meanwhile=look)


def withdrawal(account: Json, amount: int) -> Json:
    body = {"type": "WITHDRAWAL", "source": account["id"], "amount": amount, "currency": "EUR"}
    return body | {"key": new_key()}
