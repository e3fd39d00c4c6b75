"""What counts to which day and month, on a database whose days are written by hand."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import psycopg
import pytest

from domain.ids import AccountId, ApiKeyId
from domain.rules import LimitUsage
from domain.states import TransferStage
from domain.transfers import Failure, ReversalRequest, Transfer
from persistence.database import Database
from runtime.composition import make_services
from services.identifiers import new_uuid
from tests.support.api import new_key
from tests.support.postgres import PostgresServer
from tests.support.wallets import Wallets, make_wallets, reference

TODAY = "(now() AT TIME ZONE 'UTC')::date"
FAILURE = Failure("cancelled", "as a test wants it")


@dataclass(frozen=True, slots=True)
class Month:
    """Two accounts, of which the source may send 500 a day and 800 a month."""

    url: str
    database: Database
    wallets: Wallets

    async def run(self, statement: str, *parameters: Any) -> None:
        async with await psycopg.AsyncConnection.connect(self.url) as connection:
            await connection.execute(statement, parameters)

    async def today(self) -> date:
        async with await psycopg.AsyncConnection.connect(self.url) as connection:
            [day] = await (await connection.execute(f"SELECT {TODAY}")).fetchone() or [None]
        assert isinstance(day, date)
        return day

    async def use(self, day: date, used_minor: int, *, account_id: AccountId | None = None) -> None:
        """Write down what was used on a day."""
        await self.run(
            "INSERT INTO account_usage (account_id, tenant_id, day, used_minor)"
            " VALUES (%s, %s, %s, %s)",
            *(account_id or self.wallets.source.id, self.wallets.tenant_id, day, used_minor),
        )

    async def used_on(self, day: date) -> int | None:
        async with await psycopg.AsyncConnection.connect(self.url) as connection:
            found = await connection.execute(
                "SELECT used_minor FROM account_usage WHERE account_id = %s AND day = %s",
                (self.wallets.source.id, day),
            )
            row = await found.fetchone()
        return None if row is None else int(row[0])

    async def limit(self, **limits_minor: int | None) -> LimitUsage:
        _, usage = await self.wallets.services.limits.change(
            self.wallets.tenant_id,
            reference(self.wallets.source),
            limits_minor,  # type: ignore[arg-type]
            changed_by=ApiKeyId(new_uuid()),
        )
        assert usage is not None
        return usage

    async def reserve(self, amount_minor: int) -> Transfer:
        request = replace(self.wallets.request(amount_minor), idempotency_key=new_key())
        services, tenant_id = self.wallets.services, self.wallets.tenant_id
        prepared = await services.requests.prepare(tenant_id, request)
        return await services.transactions.reserve(prepared.order)

    async def release(self, transfer: Transfer) -> None:
        await self.wallets.services.transactions.compensate(
            transfer.tenant_id, transfer.id, FAILURE
        )

    async def move_hold(self, transfer: Transfer, day: date) -> None:
        """Let a hold have been opened on another day."""
        await self.run(
            "UPDATE holds SET created_at = %s::date + interval '12 hours' WHERE transfer_id = %s",
            *(day, transfer.id),
        )


@pytest.fixture
async def month(postgres: PostgresServer) -> AsyncIterator[Month]:
    async with postgres.database(migrated=True) as url:
        database = Database.at(postgres.as_service(url))
        opened = Month(url, database, await make_wallets(make_services(database)))
        await opened.limit(per_day_minor=500, per_month_minor=800)
        yield opened
        await database.close()


def other_day_of_the_month(today: date) -> date:
    tomorrow = today + timedelta(days=1)
    return tomorrow if tomorrow.month == today.month else today - timedelta(days=1)


def last_of_the_month_before(today: date) -> date:
    return today.replace(day=1) - timedelta(days=1)


def first_of_the_month_after(today: date) -> date:
    return (today.replace(day=1) + timedelta(days=32)).replace(day=1)


async def test_other_days_of_the_month_count_to_the_month_alone(month: Month) -> None:
    await month.use(other_day_of_the_month(await month.today()), 700)
    assert (await month.reserve(100)).failure is None
    refused = (await month.reserve(1)).failure
    assert refused is not None
    assert "800 (minor units) per month, of which 800 are used" in refused.message


async def test_other_months_do_not_count(month: Month) -> None:
    today = await month.today()
    await month.use(last_of_the_month_before(today), 800)
    await month.use(first_of_the_month_after(today), 800)
    assert (await month.reserve(500)).failure is None
    refused = (await month.reserve(1)).failure
    assert refused is not None
    assert "500 (minor units) per day, of which 500 are used" in refused.message


async def test_what_is_released_is_given_back_to_the_day_of_its_reserve(month: Month) -> None:
    today = await month.today()
    day = last_of_the_month_before(today)
    older, newer = await month.reserve(200), await month.reserve(300)
    await month.move_hold(older, day)
    await month.use(day, 250)
    await month.release(older)
    assert (await month.used_on(day), await month.used_on(today)) == (50, 500)
    await month.release(newer)
    assert (await month.used_on(day), await month.used_on(today)) == (50, 200)


async def test_what_was_reserved_before_the_first_limit_of_a_later_month_is_not_given_back(
    month: Month,
) -> None:
    today = await month.today()
    await month.wallets.services.limits.clear(
        month.wallets.tenant_id, reference(month.wallets.source)
    )
    older, newer = await month.reserve(200), await month.reserve(300)
    await month.move_hold(older, last_of_the_month_before(today))
    usage = await month.limit(per_day_minor=500)
    assert (usage.used_today_minor, usage.used_this_month_minor) == (300, 300)
    await month.release(older)
    assert await month.used_on(today) == 300
    await month.release(newer)
    assert await month.used_on(today) == 0


async def test_a_reversal_that_is_released_gives_nothing_back(month: Month) -> None:
    services, tenant_id = month.wallets.services, month.wallets.tenant_id
    sent = await month.reserve(100)
    await services.transactions.post(tenant_id, sent.id)
    await services.transactions.finalise(tenant_id, sent.id)
    destination = reference(month.wallets.destination)
    await services.limits.change(
        tenant_id, destination, {"per_day_minor": 10}, changed_by=ApiKeyId(new_uuid())
    )
    await month.use(await month.today(), 10, account_id=month.wallets.destination.id)
    request = ReversalRequest(new_key(), sent.id, None, None, {})
    order = (await services.requests.prepare_reversal(tenant_id, request)).order
    reversal = await services.transactions.reserve(order)
    assert reversal.stage is TransferStage.RESERVED
    await month.release(reversal)
    _, usage = await services.limits.get(tenant_id, destination)
    assert usage is not None
    assert usage.used_today_minor == 10
