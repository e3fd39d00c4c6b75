"""The continuous proof walks through the whole ledger, finds what is wrong, and sees it mended."""

from collections.abc import AsyncIterator

import psycopg
import pytest

from persistence.database import Database
from persistence.proof_slices import SEALS_INVARIANT, WALKS, walk_entries, walk_transfers
from persistence.proofs import WalkProgress
from runtime.composition import make_services
from services.ledger_proofs import LedgerStatus
from services.orphan_holds import ORPHANS, OrphanHoldService
from tests.integration.test_verification import TAMPERING, UNGUARDED
from tests.support.postgres import PostgresServer
from tests.support.sealed import SealedLedger
from tests.support.wallets import make_wallets

PASSES_MAXIMUM = 50
FOUND_AT_ONCE = {name: broken for name, (_, broken) in TAMPERING.items() if broken != {7}}
# What a slice looks at, small enough that the walks take several.
SMALL = {"entries": (walk_entries(3), 18), "transfers": (walk_transfers(2), 9)}


@pytest.fixture
async def ledger(postgres: PostgresServer) -> AsyncIterator[SealedLedger]:
    """A transfer of 100 in a database of its own, sealed."""
    async with postgres.database() as url:
        database = Database.at(url)
        services = make_services(database)
        ledger = SealedLedger(services, await make_wallets(services), postgres.as_admin(url))
        await ledger.move(100)
        yield ledger
        await database.close()


async def whole_pass(ledger: SealedLedger) -> LedgerStatus:
    """Prove slices until every walk has been through the whole ledger since."""
    before = {walk.name: walk.completed_at for walk in await progress(ledger)}
    for _ in range(PASSES_MAXIMUM):
        await ledger.services.proofs.prove_slices()
        now = {walk.name: walk.completed_at for walk in await progress(ledger)}
        if all(now[name] not in {None, before.get(name)} for name in WALKS):
            return await ledger.services.proofs.status()
    raise AssertionError(now)


async def progress(ledger: SealedLedger) -> list[WalkProgress]:
    async with ledger.services.database.reading() as unit_of_work:
        return await unit_of_work.proofs.progress()


async def tamper(ledger: SealedLedger, statement: str) -> None:
    wallets = ledger.wallets
    changed = statement.format(source=wallets.source.id, destination=wallets.destination.id)
    async with await psycopg.AsyncConnection.connect(ledger.admin_url) as connection:
        await connection.execute(UNGUARDED.replace("CONSTRAINT", "CONSTRAINT IF EXISTS").encode())
        await connection.execute(changed.encode())


def broken(status: LedgerStatus) -> set[int]:
    return {invariant.invariant for invariant in status.invariants if invariant.violations}


async def test_a_right_ledger_is_proved_whole(ledger: SealedLedger) -> None:
    await ledger.seal()
    status = await whole_pass(ledger)
    assert status.is_clean
    proved = {each.invariant for each in status.invariants if each.proved_at is not None}
    assert proved == {1, 2, 3, 4, 5, 6, SEALS_INVARIANT}
    assert status.sealing.unsealed_entries == 0
    assert status.sealing.newest is not None
    assert status.sealing.newest.content.position == 2


@pytest.mark.parametrize("what", FOUND_AT_ONCE)
async def test_what_is_wrong_is_found_by_the_slices_as_by_the_whole_proof(
    ledger: SealedLedger, what: str
) -> None:
    await tamper(ledger, TAMPERING[what][0])
    status = await whole_pass(ledger)
    # An open hold of a final transfer is not held by anybody: that is the transfer's fault alone.
    expected = FOUND_AT_ONCE[what] - ({4} if what == "a hold that was opened again" else set())
    assert broken(status) == expected
    for invariant in status.invariants:
        assert all(found.subject and found.message for found in invariant.violations)


async def test_what_was_mended_is_no_violation_any_more(ledger: SealedLedger) -> None:
    await tamper(ledger, "UPDATE balances SET held_minor = 5 WHERE account_id = '{source}'")
    (invariant,) = [each for each in (await whole_pass(ledger)).invariants if each.violations]
    (violation,) = invariant.violations
    assert violation.subject == f"account {ledger.wallets.source.id}"
    assert violation.message == "held is 5; the open holds of unfinished transfers sum to 0"
    await tamper(ledger, "UPDATE balances SET held_minor = 0")
    await whole_pass(ledger)
    assert (await whole_pass(ledger)).is_clean


async def test_what_differs_from_its_seal_is_found_in_the_background(ledger: SealedLedger) -> None:
    await ledger.seal()
    await ledger.tamper("UPDATE ledger_entries SET effective_at = now() WHERE direction = 'DEBIT'")
    status = await whole_pass(ledger)
    assert broken(status) == {SEALS_INVARIANT}


async def test_a_slice_waits_for_no_lock_and_lets_nobody_wait(ledger: SealedLedger) -> None:
    async with await psycopg.AsyncConnection.connect(ledger.admin_url) as other:
        for table in ("balances", "transfers", "holds"):
            await other.execute(f"SELECT FROM {table} FOR UPDATE".encode())
        assert (await whole_pass(ledger)).is_clean
        await other.rollback()


async def hold_without_owner(ledger: SealedLedger, *, held_minor: int) -> None:
    """Leave a hold of 100 open behind its finished transfer."""
    await tamper(
        ledger,
        "UPDATE holds SET status = 'HELD', closed_at = NULL; "  # noqa: S608 - of this test
        f"UPDATE balances SET held_minor = {held_minor} WHERE account_id = '{{source}}'",
    )


@pytest.mark.parametrize("held_minor", [0, 100])
async def test_a_hold_without_a_living_owner_is_closed_and_its_money_given_back(
    ledger: SealedLedger, held_minor: int
) -> None:
    await hold_without_owner(ledger, held_minor=held_minor)
    report = await OrphanHoldService(ledger.services.database).close_slice()
    assert (report.closed, report.left) == (1, 0)
    assert (await ledger.wallets.amounts())[1] == 0
    assert (await whole_pass(ledger)).is_clean


async def test_a_hold_whose_right_end_nobody_can_tell_is_left_and_reported(
    ledger: SealedLedger,
) -> None:
    await hold_without_owner(ledger, held_minor=40)
    report = await OrphanHoldService(ledger.services.database).close_slice()
    assert (report.closed, report.left) == (0, 1)
    assert broken(await whole_pass(ledger)) == {4, 6}
    assert ORPHANS in {walk.name for walk in await progress(ledger)}


async def test_holds_of_living_transfers_are_left_alone(ledger: SealedLedger) -> None:
    wallets = await make_wallets(ledger.services)
    prepared = await ledger.services.requests.prepare(wallets.tenant_id, wallets.request(7))
    await ledger.services.transactions.reserve(prepared.order)
    report = await OrphanHoldService(ledger.services.database).close_slice()
    assert (report.closed, report.left) == (0, 0)
    assert (await wallets.amounts())[1] == 7
    assert (await whole_pass(ledger)).is_clean


@pytest.mark.parametrize("walk", SMALL)
async def test_a_walk_of_many_slices_comes_through_and_begins_again(
    ledger: SealedLedger, walk: str
) -> None:
    await ledger.move(*range(1, 9))
    prove, rows = SMALL[walk]
    position: str | None = None
    examined = slices = 0
    while slices == 0 or position is not None:
        async with ledger.services.database.snapshot() as snapshot:
            proved = await prove(snapshot, position)
        assert proved.violations == ()
        examined, slices, position = examined + proved.examined, slices + 1, proved.position
    assert examined == rows
    assert slices > 4
