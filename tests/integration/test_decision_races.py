"""Two decisions about one transfer at one moment: whoever has its lock first decides.

Straight through the services and from two connections, for a transfer's workflow would let one
wait for the other. In each order that there is, on purpose, and many times as it comes.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import uuid4

import pytest

from domain.accounts import Account, AccountStatus
from domain.errors import AccountFrozen, DomainError
from domain.ids import ApiKeyId
from domain.operations import Operation
from domain.states import TransferStage
from domain.transfers import CaptureMode, Failure, Transfer
from persistence.database import Database
from persistence.tenancy import EVERY_TENANT
from persistence.verification import PROVED_IN_SQL, prove
from runtime.composition import Services, make_services
from tests.support.locks import locked_transfer, until_waiting
from tests.support.postgres import PostgresServer
from tests.support.rules import require_approval
from tests.support.served import locked_balance
from tests.support.wallets import Wallets, make_wallets, reference

AMOUNT: Final = 100
NOTHING_MOVED: Final = (0, 0, 0)
HELD: Final = (0, AMOUNT, 0)
MOVED: Final = (-AMOUNT, 0, AMOUNT)
ROUNDS: Final = 20


@dataclass(frozen=True, slots=True)
class Place:
    """A database without workers, whose transfers nobody but the test moves on."""

    services: Services
    url: str

    async def require_invariants(self) -> None:
        async with self.services.database.snapshot(EVERY_TENANT) as snapshot:
            for invariant in PROVED_IN_SQL:
                assert (await prove(snapshot, invariant)).violations == (), invariant


@pytest.fixture(scope="module")
async def place(postgres: PostgresServer) -> AsyncIterator[Place]:
    async with postgres.database() as url:
        database = Database.at(postgres.as_service(url))
        yield Place(make_services(database), url)
        await database.close()


async def reserve(wallets: Wallets, mode: CaptureMode = CaptureMode.AUTOMATIC) -> Transfer:
    """Hold the amount for a transfer; where the tenant has a rule, it waits for its approval."""
    prepared = await wallets.services.requests.prepare(
        wallets.tenant_id,
        wallets.changed(AMOUNT, capture=mode),
        requested_by=wallets.api_key_id,
    )
    return await wallets.services.transactions.reserve(prepared.order)


async def capture(wallets: Wallets, transfer: Transfer) -> Transfer:
    order = wallets.operation(Operation.CAPTURE, transfer)
    return await wallets.services.operations.carry_out(order)


async def cancel(wallets: Wallets, transfer: Transfer) -> Transfer:
    order = wallets.operation(Operation.CANCEL, transfer)
    return await wallets.services.operations.carry_out(order)


async def approve(wallets: Wallets, transfer: Transfer) -> Transfer:
    order = wallets.operation(Operation.APPROVE, transfer, requested_by=ApiKeyId(uuid4()))
    return await wallets.services.operations.carry_out(order)


async def reject(wallets: Wallets, transfer: Transfer) -> Transfer:
    order = wallets.operation(Operation.REJECT, transfer, requested_by=ApiKeyId(uuid4()))
    return await wallets.services.operations.carry_out(order)


async def expire(wallets: Wallets, transfer: Transfer) -> Transfer:
    """Do what the timer does when the time has come by Temporal's clock."""
    due_at = transfer.waits_until
    assert due_at is not None
    return await wallets.services.transactions.expire(wallets.tenant_id, transfer.id, due_at)


async def post(wallets: Wallets, transfer: Transfer) -> Transfer:
    """Do what the workflow does of a reserved transfer, also where it cannot post."""
    transactions = wallets.services.transactions
    try:
        await transactions.post(wallets.tenant_id, transfer.id)
    except AccountFrozen as error:
        return await transactions.compensate(wallets.tenant_id, transfer.id, Failure.of(error))
    return await transactions.finalise(wallets.tenant_id, transfer.id)


Side = Callable[[Wallets, Transfer], Awaitable[Transfer]]


async def outcome(side: Awaitable[Transfer]) -> str:
    """Say how one side ended: refused, or with what it left of the transfer."""
    try:
        transfer = await side
    except DomainError as error:
        return f"refused: {error.code}"
    return transfer.failure.code if transfer.failure else transfer.stage


# By who is first, and who second: what each of them is told.
OUTCOMES: dict[tuple[Side, Side], tuple[str, str]] = {
    (capture, expire): ("COMPLETED", "COMPLETED"),
    (expire, capture): ("expired", "refused: expired"),
    (capture, cancel): ("COMPLETED", "refused: already_posted"),
    (cancel, capture): ("cancelled", "refused: already_failed"),
    (approve, expire): ("RESERVED", "RESERVED"),
    (expire, approve): ("approval_expired", "refused: not_awaiting_approval"),
    (approve, reject): ("RESERVED", "refused: not_awaiting_approval"),
    (reject, approve): ("rejected", "refused: not_awaiting_approval"),
}
MOVES: Final = {capture, approve}


async def contested(place: Place, sides: tuple[Side, Side]) -> tuple[Wallets, Transfer]:
    """Make a transfer that both sides are about."""
    wallets = await make_wallets(place.services)
    if approve not in sides:
        return wallets, await reserve(wallets, CaptureMode.MANUAL)
    await require_approval(place.services, wallets.tenant_id, deadline=timedelta(hours=1))
    return wallets, await reserve(wallets)


async def require_end(wallets: Wallets, transfer: Transfer, winner: Side) -> None:
    """Require that the money is where the winner wants it, and nothing is held."""
    found = await wallets.services.transactions.get(wallets.tenant_id, transfer.id)
    if winner is approve:
        assert found.stage is TransferStage.RESERVED
        found = await post(wallets, transfer)
    assert found.stage is (TransferStage.COMPLETED if winner in MOVES else TransferStage.FAILED)
    assert await wallets.amounts() == (MOVED if winner in MOVES else NOTHING_MOVED)


@pytest.mark.parametrize(
    "sides", OUTCOMES, ids=[f"{first.__name__} before {then.__name__}" for first, then in OUTCOMES]
)
async def test_who_has_the_lock_first_decides_and_the_other_finds_that_out(
    place: Place, sides: tuple[Side, Side]
) -> None:
    wallets, transfer = await contested(place, sides)
    async with locked_transfer(place.url, transfer.id):
        first = asyncio.create_task(outcome(sides[0](wallets, transfer)))
        await until_waiting(place.url, 1)
        second = asyncio.create_task(outcome(sides[1](wallets, transfer)))
        await until_waiting(place.url, 2)
    assert (await first, await second) == OUTCOMES[sides]
    await require_end(wallets, transfer, sides[0])
    await place.require_invariants()


@pytest.mark.parametrize(
    "sides",
    [sides for sides in OUTCOMES if sides[0] in MOVES],
    ids=lambda sides: f"{sides[0].__name__} and {sides[1].__name__}",
)
async def test_of_two_at_once_one_decides_however_often_they_meet(
    place: Place, sides: tuple[Side, Side]
) -> None:
    one, other = sides
    for turn in range(ROUNDS):
        wallets, transfer = await contested(place, sides)
        begun = [
            (side, asyncio.create_task(outcome(side(wallets, transfer))))
            for side in (sides if turn % 2 else (other, one))
        ]
        told = {side: await task for side, task in begun}
        [winner] = [
            first
            for first, second in (sides, (other, one))
            if (told[first], told[second]) == OUTCOMES[first, second]
        ]
        await require_end(wallets, transfer, winner)
    await place.require_invariants()


async def held_of(place: Place, moves: Side) -> tuple[Wallets, Transfer]:
    """Make a transfer whose money is held, and waits for what is to move it."""
    wallets = await make_wallets(place.services)
    mode = CaptureMode.MANUAL if moves is capture else CaptureMode.AUTOMATIC
    return wallets, await reserve(wallets, mode)


async def freeze(wallets: Wallets, account: Account) -> Account:
    return await wallets.services.accounts.freeze(wallets.tenant_id, reference(account))


async def require_nothing_moved(wallets: Wallets, transfer: Transfer, told: str) -> None:
    """Require that a frozen account's money stood still: a hold stands, a transfer has failed."""
    if transfer.capture is CaptureMode.MANUAL:
        assert (told, await wallets.amounts()) == ("refused: account_frozen", HELD)
        await cancel(wallets, transfer)
    else:
        assert told == "account_frozen"
    assert await wallets.amounts() == NOTHING_MOVED


@pytest.mark.parametrize("side", ["source", "destination"])
@pytest.mark.parametrize("moves", [capture, post])
@pytest.mark.parametrize("is_frozen_first", [True, False])
async def test_what_is_held_moves_before_a_freeze_or_not_at_all(
    place: Place, *, side: str, moves: Side, is_frozen_first: bool
) -> None:
    wallets, transfer = await held_of(place, moves)
    account: Account = getattr(wallets, side)
    async with locked_balance(place.url, str(account.id)):
        if is_frozen_first:
            freezing = asyncio.create_task(freeze(wallets, account))
            await until_waiting(place.url, 1)
        moving = asyncio.create_task(outcome(moves(wallets, transfer)))
        await until_waiting(place.url, 1 + is_frozen_first)
        if not is_frozen_first:
            freezing = asyncio.create_task(freeze(wallets, account))
            await until_waiting(place.url, 2)
    assert (await freezing).balance.status is AccountStatus.FROZEN
    if is_frozen_first:
        await require_nothing_moved(wallets, transfer, await moving)
    else:
        assert (await moving, await wallets.amounts()) == ("COMPLETED", MOVED)
    await place.require_invariants()


@pytest.mark.parametrize("moves", [capture, post])
async def test_a_freeze_and_what_moves_held_money_at_once_leave_one_of_two_ends(
    place: Place, moves: Side
) -> None:
    for turn in range(ROUNDS):
        wallets, transfer = await held_of(place, moves)
        account = (wallets.source, wallets.destination)[turn // 2 % 2]
        if turn % 2:
            moving = asyncio.create_task(outcome(moves(wallets, transfer)))
            freezing = asyncio.create_task(freeze(wallets, account))
        else:
            freezing = asyncio.create_task(freeze(wallets, account))
            moving = asyncio.create_task(outcome(moves(wallets, transfer)))
        told, frozen = await moving, await freezing
        balance = await wallets.balance(account)
        assert (frozen.balance.status, frozen.balance.posted_minor) == (
            AccountStatus.FROZEN,
            balance.posted_minor,
        )
        if told == "COMPLETED":
            assert await wallets.amounts() == MOVED
        else:
            await require_nothing_moved(wallets, transfer, told)
    await place.require_invariants()
