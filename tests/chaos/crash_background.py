"""Ways through the activities that no request waits for: of standing orders and of the care."""

from datetime import timedelta
from functools import partial
from typing import Final
from uuid import UUID

import psycopg

from activities.reconciliation import IDLE_SECONDS
from domain.ids import TransferId
from runtime.postgres_data import DATABASE, SUPERUSER
from tests.chaos.crash_stage import AMOUNT, COMING_BACK_SECONDS, Stage
from tests.support.api import Json
from tests.support.standing_orders import change, make_order, runs_of
from tests.support.waiting import SOON, in_seconds, until
from workflows.ledger_care import LedgerCareWorkflow
from workflows.reconciliation import ReconciliationWorkflow
from workflows.standing_order import StandingOrderReconciliationWorkflow

SECOND: Final = timedelta(seconds=1)


async def run_standing_order(stage: Stage) -> None:
    order = await once(stage, start_at=in_seconds(SOON))
    stage.arm(order["id"])
    run = await run_of(stage, order)
    assert run["state"] == "SUCCESS"
    await change(stage.client, order, "cancel")
    await stage.require_moved(AMOUNT, entries=1)


async def end_standing_orders(stage: Stage) -> None:
    """Let the reconciliation end orders whose end has passed."""
    orders: list[Json] = []

    async def leave_one() -> None:
        if not orders or await has_ended(stage, orders[-1]):
            start_at = in_seconds(SOON)
            end_at = in_seconds(2 * SOON)
            orders.append(await once(stage, start_at=start_at, end_at=end_at))
            await run_of(stage, orders[-1])

    await stage.care(StandingOrderReconciliationWorkflow.run, prepare=leave_one, delay=SECOND)
    for order in orders:
        await until(partial(has_ended, stage, order), timeout_seconds=COMING_BACK_SECONDS)
        assert [run["state"] for run in await runs_of(stage.client, order)] == ["SUCCESS"]
    await stage.require_moved(len(orders) * AMOUNT, entries=len(orders))


async def once(stage: Stage, **fields: object) -> Json:
    """Order a transfer for some time, and for an hour later."""
    return await make_order(
        stage.client,
        source=stage.source,
        destination=stage.destination,
        seconds=3_600,
        amount=AMOUNT,
        missed_runs="RUN_ALL",
        **fields,
    )


async def run_of(stage: Stage, order: Json) -> Json:
    """Wait until an order's one run has its outcome."""
    found: list[Json] = []

    async def is_over() -> bool:
        nonlocal found
        found = await runs_of(stage.client, order)
        return bool(found) and found[0]["state"] != "PROCESSING"

    await until(is_over, timeout_seconds=COMING_BACK_SECONDS)
    (run,) = found
    return run


async def has_ended(stage: Stage, order: Json) -> bool:
    found = await stage.client.get(f"/standing-orders/{order['id']}")
    return bool(found["status"] == "ENDED")


async def resolve_abandoned(stage: Stage) -> None:
    """Let the reconciliation end transfers whose workflow was terminated."""
    holds: list[Json] = []

    async def abandon_one() -> None:
        holds.append(await stage.order(capture="manual"))
        await stage.ground.temporal.get_workflow_handle(holds[-1]["workflow_id"]).terminate()

    idle = timedelta(seconds=IDLE_SECONDS)
    await stage.care(ReconciliationWorkflow.run, prepare=abandon_one, delay=idle)
    for hold in holds:
        assert (await stage.ended(hold))["failure"]["code"] == "workflow_terminated"
    await stage.require_moved(0, entries=0)


async def seal(stage: Stage) -> None:
    transfers: list[Json] = []

    async def move() -> None:
        transfers.append(await stage.order(amount=1))

    async def are_sealed() -> bool:
        return all([await is_sealed(stage, transfer) for transfer in transfers])

    await stage.care(LedgerCareWorkflow.run, prepare=move)
    await until(are_sealed, timeout_seconds=COMING_BACK_SECONDS)
    await stage.require_moved(len(transfers), entries=len(transfers))


async def is_sealed(stage: Stage, transfer: Json) -> bool:
    tenant_id = stage.client.tenant_id
    async with stage.ground.services.database.reading(tenant_id) as unit_of_work:
        entries = await unit_of_work.chain_proofs.covered(
            tenant_id, TransferId(UUID(transfer["id"])), limit=10
        )
    return len(entries) == len({"DEBIT", "CREDIT"}) and all(each.seal_number for each in entries)


async def resolve_leftovers(stage: Stage) -> None:
    """Let the care for the ledger close a hold that outlived its transfer."""
    transfers: list[Json] = []

    async def leave_hold() -> None:
        transfers.append(await stage.order(amount=1))
        await open_again(stage, transfers[-1])

    async def is_given_back() -> bool:
        balance = await stage.client.get(f"/accounts/{stage.source}/balance")
        return bool(balance["held"] == 0)

    await stage.care(LedgerCareWorkflow.run, prepare=leave_hold)
    await until(is_given_back, timeout_seconds=COMING_BACK_SECONDS)
    await stage.require_moved(len(transfers), entries=len(transfers))


async def open_again(stage: Stage, transfer: Json) -> None:
    """Leave a final transfer's hold of 1 behind, as only the database's superuser can."""
    url = stage.ground.site.postgres.url(SUPERUSER, DATABASE)
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(
            "UPDATE balances SET held_minor = held_minor + 1 WHERE account_id = %s", [stage.source]
        )
        opened = await connection.execute(
            "UPDATE holds SET status = 'HELD', closed_at = NULL WHERE transfer_id = %s",
            [transfer["id"]],
        )
        assert opened.rowcount == 1


async def prove(stage: Stage) -> None:
    async def nothing() -> None:
        """There is always something to prove."""

    report = await stage.care(LedgerCareWorkflow.run, prepare=nothing)
    assert report.proof.examined > 0
