"""What the demo does to the service that it must bear: repeats, overdrafts, kills."""

import asyncio
import os
import signal
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from runtime.api_client import ApiProblem, Document
from runtime.demo_wallets import PREFER, DemoAudience, DemoFailed, Wallets, expect
from runtime.local_stack import LocalStack

REPEATS: Final = 50
REPEATED_MINOR: Final = 2_500
OVERDRAFT_MINOR: Final = 99_999_999

CROWD: Final = 60
"""Payments in flight when the processes are killed."""
ANSWERED_BEFORE_KILL: Final = 12
CROWD_MINOR: Final = 101
KILLED: Final = ("worker", "api")


async def repeat_at_once(wallets: Wallets, audience: DemoAudience) -> None:
    """Send one request many times at once: one transfer, and all get its outcome.

    Raises
    ------
    DemoFailed
        Money moved more than once, or the answers differ.
    """
    key = f"demo-{uuid4()}"
    body = wallets.payment("Ada", "Eve", REPEATED_MINOR, description=f"Sent {REPEATS} times")
    answers = await asyncio.gather(
        *(wallets.api.transfer(body, key=key, prefer=PREFER) for _ in range(REPEATS))
    )
    wallets.book("Ada", "Eve", REPEATED_MINOR)
    recorded = (await wallets.api.get("/v1/transfers", idempotency_key=key)).document["data"]
    expect("statuses", expected={201}, found={answer.status for answer in answers})
    expect("different answers", expected=1, found=len({answer.text for answer in answers}))
    expect("transfers with this key", expected=1, found=len(recorded))
    expect("replays", expected=REPEATS - 1, found=sum(answer.is_replay for answer in answers))
    await wallets.check_balances()
    audience.note(
        f"{REPEATS} requests with one Idempotency-Key: 1 transfer, {REPEATS} equal answers "
        f"({REPEATS - 1} marked as replays); {wallets.text(REPEATED_MINOR)} moved once"
    )


async def overdraw(wallets: Wallets, audience: DemoAudience) -> None:
    """Ask for more than there is: refused, recorded, and nothing is held.

    Raises
    ------
    DemoFailed
        It was not refused as it must be.
    """
    key = f"demo-{uuid4()}"
    body = wallets.payment("Finn", "Ada", OVERDRAFT_MINOR, description="Too much")
    problems = [await _refusal(wallets, body, key) for _ in range(2)]
    for problem in problems:
        answer = (problem.status, problem.code)
        expect("the refusal", expected=(422, "insufficient_funds"), found=answer)
    expect("the second answer is a replay", expected=True, found=problems[1].is_replay)
    await wallets.check_balances()
    audience.note(f"{problems[0].status} {problems[0].code}: {problems[0].detail}")
    audience.note("Asked again with the same key: the same refusal. No balance has changed.")


async def kill_in_the_middle(stack: LocalStack, wallets: Wallets, audience: DemoAudience) -> None:
    """Kill worker and API while payments run; each payment must succeed, once.

    Raises
    ------
    DemoFailed
        A payment did not succeed, or moved money twice.
    """
    names = list(wallets.ids)
    answered, is_time = 0, asyncio.Event()

    async def pay(number: int) -> Document:
        nonlocal answered
        source, destination = names[number % len(names)], names[(number + 1) % len(names)]
        transfer = await wallets.pay(
            source, destination, CROWD_MINOR + number, description=f"Payment {number + 1}"
        )
        answered += 1
        if answered == ANSWERED_BEFORE_KILL:
            is_time.set()
        return transfer

    payments = [asyncio.create_task(pay(number)) for number in range(CROWD)]
    try:
        await is_time.wait()
        pids = stack.info.pids
        killed_at = datetime.now(UTC)
        for name in KILLED:
            os.kill(pids[name], signal.SIGKILL)
        audience.note(
            f"{CROWD} payments are under way and {answered} answered: SIGKILL to the worker "
            f"(pid {pids['worker']}) and the API (pid {pids['api']})"
        )
        transfers = await asyncio.gather(*payments)
    finally:
        for payment in payments:
            payment.cancel()
    states = {transfer["state"] for transfer in transfers}
    expect("states of the payments", expected={"SUCCESS"}, found=states)
    expect("different transfers", expected=CROWD, found=len({each["id"] for each in transfers}))
    await wallets.check_balances()
    await _tell_survivors(wallets, transfers, killed_at, audience)


async def _tell_survivors(
    wallets: Wallets, transfers: list[Document], killed_at: datetime, audience: DemoAudience
) -> None:
    seconds = (datetime.now(UTC) - killed_at).total_seconds()
    audience.note(
        f"All {len(transfers)} have succeeded, {seconds:.1f} s after the kill, each exactly once; "
        "clients only repeated their requests with the same keys"
    )
    straddling = [
        transfer
        for transfer in transfers
        if _time(transfer["created_at"]) < killed_at < _time(transfer["completed_at"])
    ]
    last = max(straddling or transfers, key=lambda transfer: _time(transfer["completed_at"]))
    path = f"/v1/transfers/{last['id']}"
    events = await wallets.api.read_all(f"{path}/events")
    stages = ", ".join(
        f"{event['stage']} {(_time(event['occurred_at']) - killed_at).total_seconds():+.2f} s"
        for event in events
    )
    # Where the kill fell between two transfers' steps there is none, and the rest began after it.
    audience.note(f"{len(straddling)} of them had begun before the kill and ended after it.")
    audience.note(f"One, by time from the kill: {stages}")
    workflow = (await wallets.api.get(f"{path}/workflow")).document
    audience.note(f"Its workflow, while this runs: {workflow['temporal_ui_url']}")


async def _refusal(wallets: Wallets, body: Document, key: str) -> ApiProblem:
    try:
        await wallets.api.transfer(body, key=key)
    except ApiProblem as problem:
        return problem
    raise DemoFailed("a payment of more than there is was not refused")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
