"""A stage for a worker that dies once, and how requests are made on it until they are done."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Self

import httpx
from temporalio.client import Client as TemporalClient
from temporalio.client import WorkflowFailureError

from runtime.composition import Services
from runtime.temporal import TASK_QUEUE
from tests.chaos.crashing import Boundary, Mine
from tests.chaos.site import Site
from tests.support.api import Client, Json, new_key
from tests.support.tenants import TenantMaker
from tests.support.waiting import until
from workflows.transfer import WORKFLOW_TASK_TIMEOUT

COMING_BACK_SECONDS: Final = 240.0
"""Longer than any case takes on a busy machine, where all of them wait for the same workers."""

FUNDS: Final = 1_000
AMOUNT: Final = 100
RESTING: Final = frozenset({"SCHEDULED", "AWAITING_APPROVAL"})


@dataclass(frozen=True, slots=True)
class Ground:
    """What all stages share.

    Parameters
    ----------
    folder
        Where workers look for mines.
    """

    site: Site
    services: Services
    temporal: TemporalClient
    make_tenant: TenantMaker
    folder: Path


@dataclass(frozen=True, slots=True)
class Stage:
    """A tenant with two accounts, for whose work a worker is to die once.

    Parameters
    ----------
    activity, boundary
        Where it is to die.
    mines
        Those that were laid.
    """

    ground: Ground
    activity: str
    boundary: Boundary
    client: Client
    source: str
    destination: str
    mines: list[Mine] = field(default_factory=list)

    @classmethod
    async def set(cls, ground: Ground, activity: str, boundary: Boundary) -> Self:
        """Open the accounts."""
        client = await ground.make_tenant()
        source = (await client.account(balance=FUNDS))["id"]
        destination = (await client.account())["id"]
        return cls(ground, activity, boundary, client, source, destination)

    async def by_another(self) -> Self:
        """Give the same stage to another key of the tenant."""
        name = self.client.record.tenant_name
        return replace(self, client=await self.ground.make_tenant(name))

    def arm(self, subject: str | None = None, *, passes: int = 0) -> None:
        """Let the next worker die that comes to the boundary, as a rule with the tenant's work."""
        mine = Mine(
            self.ground.folder,
            subject or str(self.client.tenant_id),
            self.activity,
            self.boundary,
        )
        mine.arm(passes=passes)
        self.mines.append(mine)

    async def has_crashed(self) -> bool:
        """Tell whether a worker died there."""
        return bool(self.mines) and all(mine.done_path.exists() for mine in self.mines)

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

    async def care(
        self,
        workflow: Callable[..., Awaitable[Any]],
        *,
        prepare: Callable[[], Awaitable[object]],
        delay: timedelta = timedelta(),
    ) -> Any:
        """Run a workflow for all tenants until a worker has died in it, and give what it returns.

        Parameters
        ----------
        prepare
            Leaves work to be done, also where a run has found none since others were first.
        delay
            How long the work has to lie before it is touched.
        """
        workflow_id = f"{self.activity}-{self.boundary}"
        self.arm(workflow_id)
        report = None
        async with asyncio.timeout(COMING_BACK_SECONDS):
            while report is None or not await self.has_crashed():
                report = None
                await prepare()
                # The crashes of others may take all tries of a step.
                with suppress(WorkflowFailureError):
                    report = await self.ground.temporal.execute_workflow(
                        workflow,
                        id=workflow_id,
                        task_queue=TASK_QUEUE,
                        task_timeout=WORKFLOW_TASK_TIMEOUT,
                        start_delay=delay,
                    )
        return report
