"""Workers die at every boundary of every activity, and come back: there is one outcome.

All cases share a stack and run at the same time, each as a tenant of its own, before the tests look
at what became of them.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import httpx
import pytest
from temporalio.client import Client as TemporalClient

from domain.access import Scope
from runtime.temporal import connect
from tests.chaos.crashing import DONE_SUFFIX, FOLDER_VARIABLE, Boundary
from tests.chaos.nemesis import OPEN_WORKFLOWS
from tests.chaos.site import Site, SitePlan, running_site
from tests.support.api import Client, Json, new_key
from tests.support.batches import post_batch, row, rows_of
from tests.support.waiting import until

PROGRAM: Final = (sys.executable, "-m", "tests.chaos.crashing")
WORKERS: Final = 3
COMING_BACK_SECONDS: Final = 80.0
FUNDS: Final = 1_000
AMOUNT: Final = 100
ROWS: Final = 3
RESTING: Final = frozenset({"SCHEDULED", "AWAITING_APPROVAL"})
SOON: Final = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Stage:
    """A tenant with two accounts, for whose work a worker is to die once."""

    client: Client
    temporal: TemporalClient
    arm_file: Path
    activity: str
    boundary: Boundary
    source: str
    destination: str

    def arm(self) -> None:
        """Let the next worker die that comes to the boundary."""
        self.arm_file.write_text(f"{self.activity} {self.boundary}")

    async def has_crashed(self) -> bool:
        """Tell whether a worker died there."""
        return self.arm_file.with_suffix(DONE_SUFFIX).exists()

    async def order(self, **fields: object) -> Json:
        """Send a transfer until it is taken in, and give it as it was answered."""
        key = new_key()
        body = {"source": self.source, "destination": self.destination, "amount": AMOUNT}
        return await self.insist("/transfers", key, {**body, "currency": "EUR", **fields})

    async def insist(self, path: str, key: str, body: Json) -> Json:
        """Send a request with its key until it is done, or rests."""
        answer: Json = {}
        headers = httpx.Headers()

        async def is_done() -> bool:
            nonlocal answer, headers
            try:
                response = await self.post(path, key, body)
            except httpx.TransportError:
                return False
            answer, headers = response.json(), response.headers
            return response.status_code in {200, 201} or answer.get("stage") in RESTING

        await until(is_done, timeout_seconds=COMING_BACK_SECONDS)
        first = answer

        async def is_replayed() -> bool:
            # Its worker may have died with the answer on its way, and not be back yet.
            return await is_done() and headers.get("Idempotency-Replayed") == "true"

        await until(is_replayed, timeout_seconds=COMING_BACK_SECONDS)
        assert answer["id"] == first["id"]
        return first

    async def post(self, path: str, key: str, body: Json) -> httpx.Response:
        headers = {"Idempotency-Key": key, "Prefer": "wait=5"}
        return await self.client.call("POST", path, json=body, headers=headers)

    async def ended(self, transfer: Json) -> Json:
        """Wait until a transfer is final."""
        found = transfer

        async def is_final() -> bool:
            nonlocal found
            found = await self.client.get(f"/transfers/{transfer['id']}")
            return bool(found["state"] != "PROCESSING")

        await until(is_final, timeout_seconds=COMING_BACK_SECONDS)
        return found

    async def require_moved(self, amount: int, *, entries: int) -> None:
        """Require that so much has moved, in so many entries of each account, and nothing else."""
        source = await self.client.get(f"/accounts/{self.source}/balance")
        assert (source["posted"], source["held"]) == (FUNDS - amount, 0)
        assert await self.client.posted(self.destination) == amount
        for account, others in ((self.source, 1), (self.destination, 0)):
            found = (await self.client.get(f"/accounts/{account}/entries"))["data"]
            assert len(found) == entries + others


async def make_transfer(stage: Stage) -> None:
    stage.arm()
    transfer = await stage.order()
    assert (await stage.ended(transfer))["state"] == "SUCCESS"
    await stage.require_moved(AMOUNT, entries=1)


async def schedule(stage: Stage) -> None:
    stage.arm()
    transfer = await stage.order(execute_at=(datetime.now(UTC) + SOON).isoformat())
    assert (await stage.ended(transfer))["state"] == "SUCCESS"
    await stage.require_moved(AMOUNT, entries=1)


async def let_expire(stage: Stage) -> None:
    stage.arm()
    hold = await stage.order(capture="manual", expires_in_seconds=SOON.seconds)
    assert (await stage.ended(hold))["failure"]["code"] == "expired"
    await stage.require_moved(0, entries=0)


async def cancel_workflow(stage: Stage) -> None:
    hold = await stage.order(capture="manual")
    stage.arm()
    await stage.temporal.get_workflow_handle(hold["workflow_id"]).cancel()
    assert (await stage.ended(hold))["failure"]["code"] == "cancelled"
    await stage.require_moved(0, entries=0)


async def capture(stage: Stage) -> None:
    hold = await stage.order(capture="manual")
    stage.arm()
    captured = await stage.insist(
        f"/transfers/{hold['id']}/capture", new_key(), {"amount": AMOUNT - 1, "final": True}
    )
    assert (captured["state"], captured["captured_amount"]) == ("SUCCESS", AMOUNT - 1)
    await stage.require_moved(AMOUNT - 1, entries=1)


async def cancel(stage: Stage) -> None:
    hold = await stage.order(capture="manual")
    stage.arm()
    cancelled = await stage.insist(f"/transfers/{hold['id']}/cancel", new_key(), {})
    assert cancelled["failure"]["code"] == "cancelled"
    await stage.require_moved(0, entries=0)


async def post_rows(stage: Stage) -> None:
    stage.arm()
    rows = [row(source=stage.source, destination=stage.destination) for _ in range(ROWS)]
    batch = await batch_until(stage, rows, "SUCCESS")
    assert batch["counts"]["succeeded"] == ROWS
    assert len({each["transfer_id"] for each in await rows_of(stage.client, batch["id"])}) == ROWS
    await stage.require_moved(ROWS, entries=ROWS)


async def stop_batch(stage: Stage) -> None:
    """Cancel the workflow of a batch that waits for a transfer which waits for its approval."""
    await stage.client.rule(threshold=AMOUNT - 1)
    waiting = row(AMOUNT, source=stage.source, destination=stage.destination)
    single = {name: value for name, value in waiting.items() if name != "idempotency_key"}
    transfer = await stage.insist("/transfers", waiting["idempotency_key"], single)
    assert transfer["stage"] == "AWAITING_APPROVAL"
    batch = (await post_batch(stage.client, [waiting], prefer=None)).json()

    async def is_waiting() -> bool:
        found = await stage.client.get(f"/transfer-batches/{batch['id']}")
        return bool(found["stage"] == "RUNNING")

    await until(is_waiting, timeout_seconds=COMING_BACK_SECONDS)
    stage.arm()
    await stage.temporal.get_workflow_handle(batch["workflow_id"]).cancel()

    async def is_stopped() -> bool:
        found = await stage.client.get(f"/transfer-batches/{batch['id']}")
        return bool(found["stage"] == "CANCELLED" and found["counts"]["cancelled"] == 1)

    await until(is_stopped, timeout_seconds=COMING_BACK_SECONDS)
    await stage.insist(f"/transfers/{transfer['id']}/cancel", new_key(), {})
    await stage.require_moved(0, entries=0)


async def batch_until(stage: Stage, rows: list[Json], state: str) -> Json:
    batch = (await post_batch(stage.client, rows, prefer=None)).json()
    found: Json = {}

    async def is_so() -> bool:
        nonlocal found
        found = await stage.client.get(f"/transfer-batches/{batch['id']}")
        return bool(found["state"] == state)

    await until(is_so, timeout_seconds=COMING_BACK_SECONDS)
    return found


Scenario = Callable[[Stage], Awaitable[None]]
SCENARIOS: Final[dict[str, tuple[str, Scenario]]] = {
    "reserve_funds": ("reserve_funds", make_transfer),
    "post_entries": ("post_entries", make_transfer),
    "finalise": ("finalise", make_transfer),
    "compensate": ("compensate", cancel_workflow),
    "schedule": ("schedule", schedule),
    "expire": ("expire", let_expire),
    "capture": ("carry_out_operation", capture),
    "cancel": ("carry_out_operation", cancel),
    "post_batch_chunks": ("post_batch_chunks", post_rows),
    "stop_batch": ("stop_batch", stop_batch),
}
CASES: Final = [(name, boundary) for name in SCENARIOS for boundary in Boundary]
Outcomes = dict[tuple[str, Boundary], BaseException | None]


@dataclass(frozen=True, slots=True)
class Theatre:
    """The stack that all cases share, and what became of them."""

    site: Site
    temporal: TemporalClient
    api_pid: int
    outcomes: Outcomes


@pytest.fixture(scope="module")
async def theatre(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Theatre]:
    """Play all cases."""
    folder = tmp_path_factory.mktemp("crashes")
    environment = {"RUN_WORKER_IN_API": "false", FOLDER_VARIABLE: str(folder)}
    plan = SitePlan(apis=1, workers=WORKERS, program=PROGRAM, environment=environment)
    async with running_site(plan) as site, AsyncExitStack() as clients:
        temporal = await connect(site.temporal.address, site.temporal.namespace)

        api_pid = site.pids()["api-1"]

        async def set_stage(name: str, boundary: Boundary) -> Stage:
            client = await clients.enter_async_context(site.client(scopes=frozenset(Scope)))
            source = (await client.account(balance=FUNDS))["id"]
            destination = (await client.account())["id"]
            arm_file = folder / str(client.tenant_id)
            activity, _ = SCENARIOS[name]
            return Stage(client, temporal, arm_file, activity, boundary, source, destination)

        async def play(name: str, stage: Stage) -> None:
            _, scenario = SCENARIOS[name]
            await scenario(stage)
            # What another case's crash ended here first comes to its own a moment later.
            await until(stage.has_crashed, timeout_seconds=COMING_BACK_SECONDS)

        stages = [await set_stage(*case) for case in CASES]
        plays = (play(name, stage) for (name, _), stage in zip(CASES, stages, strict=True))
        ends = await asyncio.gather(*plays, return_exceptions=True)
        yield Theatre(site, temporal, api_pid, dict(zip(CASES, ends, strict=True)))


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
    async def is_calm() -> bool:
        return not (await theatre.temporal.count_workflows(OPEN_WORKFLOWS)).count

    await until(is_calm)
    assert await theatre.site.violations() == []
    assert theatre.site.unexpected_errors() == []
    assert theatre.site.pids()["api-1"] == theatre.api_pid
