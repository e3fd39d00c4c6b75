"""The proof finds what is wrong: each invariant is broken on purpose, past the database's rules."""

from collections.abc import AsyncIterator

import psycopg
import pytest
from temporalio.client import Client as TemporalClient

from persistence.database import Database
from runtime.composition import Services, make_services
from services.verification import VerificationReport, VerificationService
from tests.support.postgres import PostgresServer
from tests.support.temporal import TemporalServer
from tests.support.waiting import until
from tests.support.wallets import Wallets, make_wallets
from tests.support.workers import WorkerFactory

UNGUARDED = """
ALTER TABLE ledger_entries DISABLE TRIGGER USER;
ALTER TABLE transfers DISABLE TRIGGER USER;
ALTER TABLE balances DROP CONSTRAINT balances_available;
"""

# What is done to one transfer of 100, and the invariants that no longer hold.
TAMPERING = {
    "money from nowhere": (
        "UPDATE balances SET posted_minor = posted_minor + 1 WHERE account_id = '{destination}'",
        {1, 2},
    ),
    "a sequence that ran ahead": (
        "UPDATE balances SET last_sequence = 7 WHERE account_id = '{destination}'",
        {2},
    ),
    "an entry with another balance": (
        "UPDATE ledger_entries SET balance_after_minor = 99 WHERE direction = 'CREDIT'",
        {2, 3},
    ),
    "an entry moved along": (
        "UPDATE ledger_entries SET sequence = 2 WHERE direction = 'CREDIT'",
        {2, 3},
    ),
    "an entry that is gone": (
        "DELETE FROM ledger_entries WHERE direction = 'CREDIT'",
        {2, 6},
    ),
    "a hold without its amount": (
        "UPDATE balances SET held_minor = 5 WHERE account_id = '{source}'",
        {4},
    ),
    "limits that no reserve will see": (
        (
            "INSERT INTO account_limits (account_id, tenant_id, per_day_minor) "
            "SELECT id, tenant_id, 200 FROM accounts WHERE id = '{source}'; "
            "INSERT INTO account_usage (account_id, tenant_id, day, used_minor) "
            "SELECT id, tenant_id, (now() AT TIME ZONE 'UTC')::date, 100 FROM accounts "
            "WHERE id = '{source}'"
        ),
        {4},
    ),
    "a limit that is used less than was sent": (
        (
            "UPDATE balances SET has_limits = true WHERE account_id = '{source}'; "
            "INSERT INTO account_limits (account_id, tenant_id, per_day_minor) "
            "SELECT id, tenant_id, 200 FROM accounts WHERE id = '{source}'; "
            "INSERT INTO account_usage (account_id, tenant_id, day, used_minor) "
            "SELECT id, tenant_id, (now() AT TIME ZONE 'UTC')::date, 99 FROM accounts "
            "WHERE id = '{source}'"
        ),
        {4},
    ),
    "an overdraft limit that was passed": (
        "UPDATE balances SET overdraft_limit_minor = 99 WHERE account_id = '{source}'",
        {5},
    ),
    "a hold that was opened again": (
        "UPDATE holds SET status = 'HELD', closed_at = NULL",
        {4, 6},
    ),
    "a success told as a failure": (
        (
            "UPDATE transfers SET state = 'FAILED', stage = 'FAILED', failure_code = 'x', "
            "failure_message = 'x'"
        ),
        {6},
    ),
    "an outcome that was taken back": (
        "UPDATE transfers SET state = 'PROCESSING', stage = 'POSTED', completed_at = NULL",
        {7},
    ),
}


class Ledger:
    """One transfer of 100 in a database of its own."""

    def __init__(
        self, url: str, services: Services, wallets: Wallets, proof: VerificationService
    ) -> None:
        self.url = url
        self.services = services
        self.wallets = wallets
        self._proof = proof

    async def tamper(self, statement: str) -> None:
        changed = statement.format(
            source=self.wallets.source.id, destination=self.wallets.destination.id
        )
        async with await psycopg.AsyncConnection.connect(self.url) as connection:
            await connection.execute(UNGUARDED)
            await connection.execute(changed)

    async def verify(self) -> VerificationReport:
        return await self._proof.verify()


@pytest.fixture
async def ledger(
    postgres: PostgresServer, temporal: TemporalServer, temporal_client: TemporalClient
) -> AsyncIterator[Ledger]:
    del temporal
    async with postgres.database(migrated=True) as url:
        database = Database.at(postgres.as_service(url))
        services = make_services(database)
        wallets = await make_wallets(services)
        workers = WorkerFactory(temporal_client, services)
        worker = await workers()
        await worker.intake.submit(wallets.tenant_id, wallets.request(100), wait_seconds=30)

        async def is_closed() -> bool:
            return await worker.gateway.closed_status(wallets.workflow_id) is not None

        await until(is_closed)
        proof = VerificationService(
            database,
            services.transactions,
            services.batches,
            closed_status=worker.gateway.closed_status,
            open_workflow_ids=_none_open,
            open_batch_workflow_ids=_none_open,
        )
        yield Ledger(url, services, wallets, proof)
        await workers.stop()
        await database.close()


async def _none_open() -> AsyncIterator[str]:
    """Leave out the workflows of other tests, whose transfers stand in another database."""
    nothing: tuple[str, ...] = ()
    for workflow_id in nothing:
        yield workflow_id


async def test_a_right_ledger_holds_all_seven(ledger: Ledger) -> None:
    report = await ledger.verify()

    assert report.is_clean
    assert [check.invariant for check in report.checks] == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("what", TAMPERING)
async def test_a_tampered_ledger_is_found_out(ledger: Ledger, what: str) -> None:
    statement, broken = TAMPERING[what]
    await ledger.tamper(statement)

    report = await ledger.verify()

    assert not report.is_clean
    assert {check.invariant for check in report.checks if check.violations} == broken
    assert all(v.subject and v.message for check in report.checks for v in check.violations)
