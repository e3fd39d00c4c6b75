"""Record the histories that the replay tests hold workflows against.

Run `python -m tests.replay.record` after a change of a workflow that is meant to be a new version.
Recorded histories stay as they are, for ever: workflows with such pasts may run anywhere. Only what
has no file yet is recorded. `--again NAME` records a scenario anew after a change, as the next
version beside the ones before: `transfer-fast.json`, `transfer-fast.2.json`, … Each is entered in
`histories/SHA256SUMS`, and a test holds all files against it.
"""

import argparse
import asyncio
import hashlib
import json
import os
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from temporalio.client import Client, WorkflowHandle

from domain.access import Scope
from domain.ids import ApiKeyId
from domain.money import Money
from domain.operations import Operation
from domain.states import TransferStage
from domain.transfers import CaptureMode, LegRequest, ReversalRequest, Transfer
from persistence.database import Database
from runtime.composition import Services, make_services
from runtime.temporal import connect
from tests.support.postgres import postgres_server
from tests.support.rules import require_approval
from tests.support.temporal import temporal_server
from tests.support.waiting import until
from tests.support.wallets import Wallets, make_wallets, reference
from tests.support.workers import (
    Hook,
    InjectedResting,
    InjectedSteps,
    RunningWorker,
    WorkerFactory,
    failing,
)
from workflows.gateway import OperationRefused

HISTORIES = Path(__file__).parent / "histories"
CHECKSUMS = "SHA256SUMS"
# What tells of the machine and is not needed for a replay.
LEFT_OUT = {"stackTrace", "identity", "binaryChecksum"}
DURABLE_FAILURES = 3
WAIT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Recording:
    """What a scenario has to work with: two accounts, and servers."""

    services: Services
    client: Client
    wallets: Wallets
    workers: WorkerFactory

    async def start(
        self,
        *,
        before: Mapping[str, Hook] | None = None,
        after: Mapping[str, Hook] | None = None,
        amount_minor: int = 100,
        **terms: Any,
    ) -> "Started":
        """Start the transfer of the scenario, and wait until it is final or rests."""
        running = await self.workers(
            InjectedSteps(self.services, before=before, after=after),
            resting=InjectedResting(self.services, before=before, after=after),
        )
        submission = await running.intake.submit(
            self.wallets.tenant_id,
            self.wallets.changed(amount_minor, **terms),
            requested_by=self.wallets.api_key_id,
            wait_seconds=WAIT_SECONDS,
        )
        return Started(self.wallets, running, submission.transfer)

    async def hold(self, **more: Any) -> "Started":
        """Start a transfer with manual capture."""
        return await self.start(capture=CaptureMode.MANUAL, **more)


@dataclass(frozen=True, slots=True)
class Started:
    """A transfer that was started, and ways to go on with it."""

    wallets: Wallets
    running: RunningWorker
    transfer: Transfer

    async def operate(self, operation: Operation, **fields: Any) -> None:
        """Do an operation and wait for it."""
        order = self.wallets.operation(operation, self.transfer, **fields)
        await self.running.operations.submit(order, wait_seconds=WAIT_SECONDS)


Scenario = Callable[[Recording], Awaitable[str | None]]
"""Gives the workflow to record where it is not the wallets' own."""


async def fast(recording: Recording) -> None:
    await recording.start()


async def refused(recording: Recording) -> None:
    await recording.start(amount_minor=1_001)


async def durable(recording: Recording) -> None:
    await recording.start(before={"post_entries": failing(DURABLE_FAILURES)})


async def compensated(recording: Recording) -> None:
    wallets = recording.wallets

    async def freeze() -> None:
        await recording.services.accounts.freeze(wallets.tenant_id, reference(wallets.destination))

    await recording.start(after={"reserve_funds": freeze})


async def cancelled(recording: Recording) -> None:
    fail = failing(2)

    async def cancel() -> None:
        await fail()
        await cancel_workflow(recording)

    await recording.start(before={"reserve_funds": cancel})


async def hold_captured(recording: Recording) -> None:
    held = await recording.hold()
    await held.operate(Operation.CAPTURE, amount_minor=30)
    await held.operate(Operation.CAPTURE, amount_minor=20, is_final=True)


async def hold_capture_durable(recording: Recording) -> None:
    held = await recording.hold(before={"carry_out_operation": failing(DURABLE_FAILURES)})
    await held.operate(Operation.CAPTURE)


async def hold_capture_refused(recording: Recording) -> None:
    held = await recording.hold()
    with suppress(OperationRefused):
        await held.operate(Operation.CAPTURE, amount_minor=101)
    await held.operate(Operation.CAPTURE)


async def hold_expired(recording: Recording) -> None:
    await recording.hold(hold_for=timedelta(milliseconds=100))


async def hold_expired_after_capture(recording: Recording) -> None:
    held = await recording.hold(hold_for=timedelta(seconds=3))
    await held.operate(Operation.CAPTURE, amount_minor=30)


async def hold_extended(recording: Recording) -> None:
    held = await recording.hold(hold_for=timedelta(seconds=5))
    later = datetime.now(UTC) + timedelta(seconds=6)
    await held.operate(Operation.EXTEND, expires_at=later)


async def hold_cancelled(recording: Recording) -> None:
    held = await recording.hold()
    await held.operate(Operation.CANCEL, note="out of stock")


async def hold_workflow_cancelled(recording: Recording) -> None:
    await recording.hold()
    await cancel_workflow(recording)


async def scheduled(recording: Recording) -> None:
    await recording.start(execute_at=datetime.now(UTC) + timedelta(seconds=3))


async def scheduled_cancelled(recording: Recording) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    waiting = await recording.start(execute_at=later)
    await waiting.operate(Operation.CANCEL)


async def scheduled_hold(recording: Recording) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=3)
    waiting = await recording.hold(execute_at=soon)
    handle = recording.client.get_workflow_handle(recording.wallets.workflow_id)

    async def is_reserved() -> bool:
        return bool(await handle.query("stage") == TransferStage.RESERVED)

    await until(is_reserved)
    await waiting.operate(Operation.CAPTURE)


async def approved(recording: Recording) -> None:
    await require_approval(
        recording.services, recording.wallets.tenant_id, deadline=timedelta(hours=1)
    )
    waiting = await recording.start()
    await waiting.operate(Operation.APPROVE, requested_by=await another_key(recording))


async def rejected(recording: Recording) -> None:
    await require_approval(
        recording.services, recording.wallets.tenant_id, deadline=timedelta(hours=1)
    )
    waiting = await recording.start()
    await waiting.operate(Operation.REJECT, requested_by=await another_key(recording))


async def approval_expired(recording: Recording) -> None:
    await require_approval(
        recording.services, recording.wallets.tenant_id, deadline=timedelta(seconds=1)
    )
    await recording.start()


async def legs(recording: Recording) -> None:
    wallets = recording.wallets
    source, destination = reference(wallets.source), reference(wallets.destination)
    await recording.start(
        legs=(
            LegRequest(source, destination, Money(100, "EUR")),
            LegRequest(destination, source, Money(30, "EUR")),
        )
    )


async def reversal(recording: Recording) -> str:
    original = await recording.start()
    wallets = recording.wallets
    back = ReversalRequest(f"{wallets.key}-back", original.transfer.id, 40, "damaged", {})
    submission = await original.running.intake.submit_reversal(
        wallets.tenant_id, back, requested_by=wallets.api_key_id, wait_seconds=WAIT_SECONDS
    )
    return submission.transfer.workflow_id


SCENARIOS: Final[Sequence[Scenario]] = (
    fast,
    refused,
    durable,
    compensated,
    cancelled,
    hold_captured,
    hold_capture_durable,
    hold_capture_refused,
    hold_expired,
    hold_expired_after_capture,
    hold_extended,
    hold_cancelled,
    hold_workflow_cancelled,
    scheduled,
    scheduled_cancelled,
    scheduled_hold,
    approved,
    rejected,
    approval_expired,
    legs,
    reversal,
)


def name_of(scenario: Scenario) -> str:
    return str(getattr(scenario, "__name__", "")).replace("_", "-")


def path_of(scenario: Scenario) -> Path:
    return HISTORIES / f"transfer-{name_of(scenario)}.json"


async def cancel_workflow(recording: Recording) -> None:
    await recording.client.get_workflow_handle(recording.wallets.workflow_id).cancel()


async def another_key(recording: Recording) -> ApiKeyId:
    """Make a second key of the tenant, to decide on what the first one asked for."""
    tenants = {
        key.tenant_id: key.tenant_name for key in await recording.services.access.list_keys(None)
    }
    key, _ = await recording.services.access.create_key(
        tenant_name=tenants[recording.wallets.tenant_id], name="approver", scopes=frozenset(Scope)
    )
    return key.id


async def record(services: Services, client: Client, again: Collection[str] = ()) -> None:
    """Run each scenario that has no file, or is named, and write its history."""
    for scenario in SCENARIOS:
        if path_of(scenario).exists() and name_of(scenario) not in again:
            continue
        wallets = await make_wallets(services)
        workers = WorkerFactory(client, services)
        workflow_id = await scenario(Recording(services, client, wallets, workers))
        handle = client.get_workflow_handle(workflow_id or wallets.workflow_id)
        await handle.result()
        await write_history(path_of(scenario).stem, handle)
        await workers.stop()


async def write_history(name: str, handle: WorkflowHandle[Any, Any]) -> None:
    """Keep the history of a workflow that has ended, beside earlier versions of it."""
    history = _cleaned((await handle.fetch_history()).to_json_dict())
    keep_history(HISTORIES, name, json.dumps(history, indent=1) + "\n")


def keep_history(folder: Path, name: str, text: str) -> Path:
    """Write the next version of a history, and enter it in the list of all."""
    path = folder / f"{name}.json"
    version = 1
    while path.exists():
        version += 1
        path = folder / f"{name}.{version}.json"
    path.write_text(text)
    with (folder / CHECKSUMS).open("a") as listed:
        listed.write(f"{hashlib.sha256(text.encode()).hexdigest()}  {path.name}\n")
    return path


def _cleaned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _cleaned(part) for key, part in value.items() if key not in LEFT_OUT}
    if isinstance(value, list):
        return [_cleaned(part) for part in value]
    return value


async def main(record: Callable[[Services, Client], Awaitable[None]]) -> None:
    """Start servers, and record on them."""
    async with AsyncExitStack() as opened:
        postgres = await opened.enter_async_context(postgres_server(print))
        temporal = await opened.enter_async_context(temporal_server())
        url = await opened.enter_async_context(postgres.database())
        database = Database.at(url)
        opened.push_async_callback(database.close)
        client = await connect(temporal.address, temporal.namespace)
        await record(make_services(database), client)


def run(record: Callable[[Services, Client], Awaitable[None]]) -> None:
    """Record, and leave."""
    HISTORIES.mkdir(exist_ok=True)
    asyncio.run(main(record))
    # The SDK's threads may still run, and abort an interpreter that takes itself down.
    os._exit(0)


def named_again(description: str | None) -> Collection[str]:
    """Read from the command line which scenarios are to be recorded again."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--again", action="append", default=[], metavar="NAME")
    again: list[str] = parser.parse_args().again
    return again


if __name__ == "__main__":
    run(partial(record, again=named_again(__doc__)))
