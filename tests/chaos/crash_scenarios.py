"""Ways through all activities, each to be gone although a worker dies in one of them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from tests.chaos.crash_background import (
    end_standing_orders,
    prove,
    resolve_abandoned,
    resolve_leftovers,
    run_standing_order,
    seal,
)
from tests.chaos.crash_stage import AMOUNT, COMING_BACK_SECONDS, Stage
from tests.chaos.crashing import CHUNK_ROWS, Boundary
from tests.support.api import Json, new_key
from tests.support.batches import post_batch, row, rows_of
from tests.support.waiting import in_seconds, until

ROWS: Final = 2 * CHUNK_ROWS + 1
RESTING_SECONDS: Final = 2
LATER: Final = timedelta(days=30)


async def make_transfer(stage: Stage) -> None:
    stage.arm()
    transfer = await stage.order()
    assert (await stage.ended(transfer))["state"] == "SUCCESS"
    await stage.require_moved(AMOUNT, entries=1)


async def schedule(stage: Stage) -> None:
    stage.arm()
    transfer = await stage.order(execute_at=in_seconds(RESTING_SECONDS))
    assert (await stage.ended(transfer))["state"] == "SUCCESS"
    await stage.require_moved(AMOUNT, entries=1)


async def let_expire(stage: Stage) -> None:
    stage.arm()
    hold = await stage.order(capture="manual", expires_in_seconds=RESTING_SECONDS)
    assert (await stage.ended(hold))["failure"]["code"] == "expired"
    await stage.require_moved(0, entries=0)


async def cancel_workflow(stage: Stage) -> None:
    hold = await stage.order(capture="manual")
    stage.arm()
    await stage.ground.temporal.get_workflow_handle(hold["workflow_id"]).cancel()
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


async def capture_parts(stage: Stage) -> None:
    """Capture a part, in which a worker dies, and then the rest."""
    hold = await stage.order(capture="manual")
    stage.arm()
    path = f"/transfers/{hold['id']}/capture"
    part = await stage.insist(path, new_key(), {"amount": 1, "final": False})
    assert (part["state"], part["captured_amount"]) == ("PROCESSING", 1)
    rest = await stage.insist(path, new_key(), {"amount": AMOUNT - 1, "final": True})
    assert (rest["state"], rest["captured_amount"]) == ("SUCCESS", AMOUNT)
    await stage.require_moved(AMOUNT, entries=2)


async def extend(stage: Stage) -> None:
    hold = await stage.order(capture="manual")
    stage.arm()
    body = {"expires_at": in_seconds(LATER.total_seconds())}
    extended = await stage.insist(f"/transfers/{hold['id']}/extend", new_key(), body)
    found = await stage.client.get(f"/transfers/{hold['id']}")
    assert found["expires_at"] == extended["expires_at"] > hold["expires_at"]
    await stage.insist(f"/transfers/{hold['id']}/cancel", new_key(), {})
    await stage.require_moved(0, entries=0)


async def approve(stage: Stage) -> None:
    transfer = await decided(stage, "approve")
    assert transfer["state"] == "SUCCESS"
    await stage.require_moved(AMOUNT, entries=1)


async def reject(stage: Stage) -> None:
    transfer = await decided(stage, "reject")
    assert transfer["failure"]["code"] == "rejected"
    await stage.require_moved(0, entries=0)


async def decided(stage: Stage, verb: str) -> Json:
    """Make a transfer that waits for its approval, decide on it, and give it as it ends."""
    await stage.client.rule(threshold=AMOUNT - 1)
    transfer = await stage.order()
    assert transfer["stage"] == "AWAITING_APPROVAL"
    stage.arm()
    other = await stage.by_another()
    await other.insist(f"/transfers/{transfer['id']}/{verb}", new_key(), {"note": "seen"})
    decisions = (await stage.client.get(f"/transfers/{transfer['id']}/approvals"))["data"]
    assert [each["decision"] for each in decisions] == [verb]
    return await stage.ended(transfer)


async def post_rows(stage: Stage) -> None:
    """Post several chunks; a worker that dies at a commit dies at that of the second."""
    stage.arm(passes=1 if stage.boundary is Boundary.BEFORE_COMMIT else 0)
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
    await stage.ground.temporal.get_workflow_handle(batch["workflow_id"]).cancel()

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


@dataclass(frozen=True, slots=True)
class Scenario:
    """How a worker comes to an activity, what becomes of it, and where in it it is to die."""

    activity: str
    play: Callable[[Stage], Awaitable[None]]
    boundaries: Sequence[Boundary] = tuple(Boundary)


def operation(play: Callable[[Stage], Awaitable[None]]) -> Scenario:
    """Give a further way through an activity: what it changes is done, and nobody knows it."""
    return Scenario("carry_out_operation", play, (Boundary.BEFORE_ANSWER,))


SCENARIOS: Final[Mapping[str, Scenario]] = {
    "prepare_standing_order_run": Scenario("prepare_standing_order_run", run_standing_order),
    "settle_standing_order_run": Scenario("settle_standing_order_run", run_standing_order),
    "reconcile_standing_orders": Scenario("reconcile_standing_orders", end_standing_orders),
    "resolve_abandoned_transfers": Scenario("resolve_abandoned_transfers", resolve_abandoned),
    "seal_ledger": Scenario("seal_ledger", seal),
    "resolve_leftovers": Scenario("resolve_leftovers", resolve_leftovers),
    "prove_ledger_slices": Scenario("prove_ledger_slices", prove),
    "post_batch_chunks": Scenario("post_batch_chunks", post_rows),
    "stop_batch": Scenario("stop_batch", stop_batch),
    "reserve_funds": Scenario("reserve_funds", make_transfer),
    "post_entries": Scenario("post_entries", make_transfer),
    "finalise": Scenario("finalise", make_transfer),
    "compensate": Scenario("compensate", cancel_workflow),
    "schedule": Scenario("schedule", schedule),
    "expire": Scenario("expire", let_expire),
    "capture": Scenario("carry_out_operation", capture),
    "cancel": Scenario("carry_out_operation", cancel),
    "capture_parts": operation(capture_parts),
    "extend": operation(extend),
    "approve": operation(approve),
    "reject": operation(reject),
}
"""What takes longest comes first."""
