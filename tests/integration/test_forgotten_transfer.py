"""The database goes back to a time before a transfer whose workflow goes on."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import psycopg
import pytest
from psycopg import sql
from temporalio.client import Client as TemporalClient

from domain.states import ProcessState
from domain.transfers import Transfer
from persistence.database import Database
from runtime.composition import Services, make_services
from tests.support.postgres import PostgresServer
from tests.support.waiting import until
from tests.support.wallets import Wallets, make_wallets
from tests.support.workers import InjectedSteps, WorkerFactory

WAIT_SECONDS = 30.0
RECORDS = ("transfer_events", "holds", "transfers", "idempotency_keys")


@dataclass(frozen=True, slots=True)
class Place:
    """A database of a test's own, which can be made to forget."""

    owner_url: str
    services: Services
    wallets: Wallets

    async def forget(self) -> None:
        """Take the database back to a time without any transfer."""
        async with await psycopg.AsyncConnection.connect(self.owner_url) as connection:
            for name in RECORDS:
                table = sql.Identifier(name)
                await connection.execute(
                    sql.SQL("ALTER TABLE {} DISABLE TRIGGER USER").format(table)
                )
                await connection.execute(sql.SQL("DELETE FROM {}").format(table))
            await connection.execute("UPDATE balances SET held_minor = 0")


@pytest.fixture
async def place(postgres: PostgresServer) -> AsyncIterator[Place]:
    async with postgres.database() as url:
        database = Database.at(postgres.as_service(url))
        services = make_services(database)
        yield Place(url, services, await make_wallets(services))
        await database.close()


async def test_its_workflow_carries_it_out_anew_under_its_id(
    place: Place, temporal_client: TemporalClient
) -> None:
    forgotten: list[Transfer | None] = []

    async def forget_once() -> None:
        if not forgotten:
            forgotten.append(await place.wallets.transfer())
            await place.forget()

    steps = InjectedSteps(place.services, after={"reserve_funds": forget_once})
    workers = WorkerFactory(temporal_client, place.services)
    running = await workers(steps)
    wallets = place.wallets
    await running.intake.submit(wallets.tenant_id, wallets.request(100), wait_seconds=WAIT_SECONDS)

    async def is_done() -> bool:
        transfer = await wallets.transfer()
        return transfer is not None and transfer.is_final

    await until(is_done)
    transfer = await wallets.transfer()
    await workers.stop()
    assert transfer is not None
    assert transfer.state is ProcessState.SUCCESS
    assert [earlier.id for earlier in forgotten if earlier] == [transfer.id]
    assert steps.attempts["reserve_funds"] == 2
    assert await wallets.amounts() == (-100, 0, 100)
