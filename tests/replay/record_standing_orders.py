"""Record the histories of standing orders' workflows, as ``tests.replay.record`` does.

Run `python -m tests.replay.record_standing_orders`.
"""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from activities.contracts import TransferInput
from activities.standing_order_contracts import StandingOrderRunKey
from domain.standing_orders import MissedRuns, StandingOrder, run_workflow_id
from runtime.composition import Services
from tests.replay.record import run, write_history
from tests.support.order_workers import OrderGround, order_ground
from tests.support.waiting import until
from tests.support.wallets import make_wallets
from tests.support.workers import InjectedSteps
from workflows.standing_order import StandingOrderReconciliationWorkflow
from workflows.transfer import TransferWorkflow

LONG = timedelta(seconds=3)


async def record(services: Services, client: Client) -> None:
    """Run each scenario once and write its history."""
    for scenario in (made, skipped, found, terminated, reconciled):
        ground = order_ground(client, services, await make_wallets(services))
        await scenario(ground)


async def made(ground: OrderGround) -> None:
    order = await _order(ground)
    async with ground.worker():
        await _write(ground, order, "made")


async def skipped(ground: OrderGround) -> None:
    order = await ground.order(missed_runs=MissedRuns.RUN_LATEST)
    await until(lambda: _is_past(order.start_at + LONG))
    async with ground.worker():
        await _write(ground, order, "skipped")
        await ground.cancel(order)


async def found(ground: OrderGround) -> None:
    """The transfer's workflow is there already."""
    order = await _order(ground)
    transfer = await _transfer(ground, order)
    async with ground.worker():
        handle = await ground.client.start_workflow(
            TransferWorkflow.run, transfer, id=_id(transfer), task_queue=ground.task_queue
        )
        await handle.result()
        await _write(ground, order, "found")


async def terminated(ground: OrderGround) -> None:
    """The transfer's workflow is stopped by force."""
    order = await _order(ground)
    transfer = await _transfer(ground, order)

    async def terminate() -> None:
        with suppress(RPCError):
            await ground.client.get_workflow_handle(_id(transfer)).terminate()
        raise ApplicationError("too late", type="late")

    steps = InjectedSteps(ground.services, before={"post_entries": terminate})
    async with ground.worker(transfers=steps):
        await _write(ground, order, "terminated")


async def reconciled(ground: OrderGround) -> None:
    async with ground.worker():
        handle = await ground.client.start_workflow(
            StandingOrderReconciliationWorkflow.run, id="reconcile", task_queue=ground.task_queue
        )
        await handle.result()
        await write_history("standing-order-reconciled", handle)


async def _order(ground: OrderGround) -> StandingOrder:
    """Make an order with one run, in a moment. What comes before it in a scenario is quicker."""
    return await ground.order(seconds=3_600, start_at=datetime.now(UTC) + LONG)


async def _transfer(ground: OrderGround, order: StandingOrder) -> TransferInput:
    """Prepare the run at its time."""
    await until(lambda: _is_past(order.start_at))
    prepared = await ground.steps.prepare_standing_order_run(
        StandingOrderRunKey(order.id, order.start_at)
    )
    if prepared.transfer is None:
        raise LookupError("the run was skipped")
    return prepared.transfer


async def _write(ground: OrderGround, order: StandingOrder, name: str) -> None:
    handle = ground.client.get_workflow_handle(run_workflow_id(order.id, order.start_at))
    await until(lambda: _is_past(order.start_at + LONG))
    await handle.result()
    await write_history(f"standing-order-{name}", handle)


def _id(transfer: TransferInput) -> str:
    return f"{transfer.tenant_id}:{transfer.idempotency_key}"


async def _is_past(time: datetime) -> bool:
    return datetime.now(UTC) > time


if __name__ == "__main__":
    run(record)
