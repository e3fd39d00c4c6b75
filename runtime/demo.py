"""The demo: a throw-away stack, money through faults, and the proof that none was lost."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from runtime.api_client import ApiClient, ApiPlace, RetryPolicy, open_api_client
from runtime.demo_faults import kill_in_the_middle, overdraw, repeat_at_once
from runtime.demo_wallets import DemoAudience, DemoFailed, Wallets, as_statement
from runtime.local import make_local_stack
from runtime.local_stack import LocalStack
from runtime.stack_options import LocalStackOptions
from runtime.verification import verify

CONNECTIONS: Final = 60
RETRIES: Final = RetryPolicy(max_seconds=60.0)
"""How long the demo bears with an API that it has killed."""

NAMES: Final = ("Ada", "Bob", "Cleo", "Dan", "Eve", "Finn")
DEPOSIT_MINOR: Final = 100_000
PAYMENTS: Final = (
    ("Ada", "Bob", 12_550, "Concert tickets"),
    ("Bob", "Cleo", 4_200, "Dinner"),
    ("Cleo", "Ada", 99, "Coffee"),
    ("Dan", "Ada", 30_001, "Rent"),
)


async def run_demo(data_dir: Path, audience: DemoAudience, *, keep: bool) -> None:
    """Run the demo on a new stack, and stop the stack afterwards.

    Parameters
    ----------
    data_dir
        New folder of the stack.
    keep
        Leave the stack up behind the demo, until a signal.

    Raises
    ------
    DemoFailed
        Something is not as it must be.
    LocalStackError
        The stack does not start, or a part crashes again and again.
    asyncio.CancelledError
        A signal came before the end.
    """
    audience.step("Start PostgreSQL, Temporal, the API and a worker")
    stack = make_local_stack(LocalStackOptions.on_free_ports(data_dir), report=audience.note)
    async with _stopped_by_signals(), stack:
        audience.links(stack.info)
        try:
            await _unless_given_up(stack, lambda: _scenario(stack, audience))
        except DemoFailed as error:
            if not keep:
                raise
            audience.note(f"FAILED: {error}")
        audience.ending(stack.info, keep=keep)
        if keep:
            await stack.wait_until_given_up()


async def _scenario(stack: LocalStack, audience: DemoAudience) -> None:
    place = ApiPlace(stack.info.api_url, stack.info.api_key)
    async with open_api_client(place, connections=CONNECTIONS, retries=RETRIES) as api:
        wallets = Wallets(api)
        audience.step("Open accounts, deposit, transfer")
        await _move_money(wallets, audience)
        audience.step("Send the same request many times at once")
        await repeat_at_once(wallets, audience)
        audience.step("Try to spend more than there is")
        await overdraw(wallets, audience)
        audience.step("Kill the worker and the API in the middle of transfers")
        await kill_in_the_middle(stack, wallets, audience)
        audience.step("A statement, straight from the ledger")
        await _show_statement(api, wallets, audience)
    audience.step("Prove the ledger")
    await _prove(stack, audience)


async def _move_money(wallets: Wallets, audience: DemoAudience) -> None:
    for name in NAMES:
        await wallets.open(name)
        await wallets.deposit(name, DEPOSIT_MINOR)
    amount = wallets.text(DEPOSIT_MINOR)
    audience.note(f"{len(NAMES)} accounts are open: {', '.join(NAMES)}; each has {amount}")
    for source, destination, amount_minor, description in PAYMENTS:
        await wallets.pay(source, destination, amount_minor, description=description)
        amount = wallets.text(amount_minor)
        audience.note(f"{source} has sent {destination} {amount} ({description})")
    await wallets.check_balances()


async def _show_statement(api: ApiClient, wallets: Wallets, audience: DemoAudience) -> None:
    name = NAMES[0]
    lines = await as_statement(api, wallets, name)
    audience.statement(name, lines)
    await wallets.check_balances()


async def _prove(stack: LocalStack, audience: DemoAudience) -> None:
    info = stack.info
    report = await verify(
        info.database_url,
        temporal_address=info.temporal_address,
        temporal_namespace=info.temporal_namespace,
    )
    audience.proved(report.checks)
    if not report.is_clean:
        raise DemoFailed("the invariants do not hold")


async def _unless_given_up(stack: LocalStack, work: Callable[[], Awaitable[None]]) -> None:
    """Do work on a stack; where a part cannot be kept up, that error ends it at once."""

    async def run() -> None:
        await work()

    working = asyncio.create_task(run())
    watching = asyncio.create_task(stack.wait_until_given_up())
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            await watching
        await working
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.wait({working, watching})


@asynccontextmanager
async def _stopped_by_signals() -> AsyncIterator[None]:
    """Cancel the task of the block where a signal asks to stop; once, to let it clean up."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        # Ignored under nohup, which means to outlive the terminal.
        numbers.append(signal.SIGHUP)
    asked = False

    def stop() -> None:
        nonlocal asked
        if not asked and task is not None:
            task.cancel()
        asked = True

    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
