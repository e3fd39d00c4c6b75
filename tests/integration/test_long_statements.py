"""Statements of 100,000 entries, and what a process takes in at once."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from http import HTTPStatus
from urllib.parse import urlsplit

import httpx
import psutil
import psycopg
import pypdf
import pytest

from api.problems import status_of
from api.statements.pdf_process import PROGRAM as PDF_PROGRAM
from domain.accounts import AccountReference
from domain.errors import StatementTooLong
from domain.limits import STATEMENTS_PREPARED_AT_ONCE
from domain.statements import StatementFormat, StatementPeriod
from runtime.composition import open_services
from services.statements import StatementService
from tests.support.api import Client, Json, problem_of
from tests.support.long_accounts import fill_account
from tests.support.postgres import PostgresServer
from tests.support.served import ServedApi, served_api
from tests.support.stack import Stack
from tests.support.waiting import until

ENTRIES = 100_000
CREDITS = (ENTRIES // 2) ** 2
DEBITS = ENTRIES // 2
GROWTH_MIB_MAXIMUM = 60
"""All entries at once would take several times as much in any of the formats."""
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Long:
    """An account of many entries, behind an API of its own."""

    served: ServedApi
    client: Client
    account: Json

    @property
    def path(self) -> str:
        return f"/v1/accounts/{self.account['id']}/statement"

    async def ask(self, name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Ask for a statement, and read nothing of it."""
        place = urlsplit(self.served.url)
        reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=1024)
        writer.write(
            f"GET {self.path}?format={name} HTTP/1.1\r\nHost: api\r\n"
            f"Authorization: Bearer {self.client.api_key}\r\n\r\n".encode()
        )
        # Both: a connection ends where its reader is not kept.
        return reader, writer

    async def get(self, name: str, **params: str) -> httpx.Response:
        response = await self.client.http.get(self.path, params={"format": name, **params})
        assert response.status_code == 200, response.text
        return response

    def processes(self, *, of_pdf: bool) -> list[psutil.Process]:
        """Give the processes that make PDFs, or those that serve."""
        first = psutil.Process(self.served.part.pid)
        found = []
        for process in [first, *first.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                if (PDF_PROGRAM in process.cmdline()) is of_pdf:
                    found.append(process)
        return found


@pytest.fixture(scope="module")
async def database(postgres: PostgresServer) -> AsyncIterator[str]:
    """A database of its own: proofs of the others' ledger would go through all of this."""
    async with postgres.database() as url:
        yield url


@pytest.fixture(scope="module")
async def long(stack: Stack, postgres: PostgresServer, database: str) -> AsyncIterator[Long]:
    """An API over that database, without a worker, which would take others' transfers."""
    place = replace(stack, database_url=database, service_url=postgres.as_service(database))
    async with (
        open_services(database) as services,
        served_api(place, services.access, RUN_WORKER_IN_API="false") as served,
        served.client() as client,
    ):
        account = await client.account()
        accounts = (await client.get("/accounts"))["data"]
        system = next(each for each in accounts if each["kind"] == "SYSTEM")
        await fill_account(
            database,
            tenant_id=client.tenant_id,
            account_id=account["id"],
            system_id=system["id"],
            number=ENTRIES,
        )
        yield Long(served, client, account)


@asynccontextmanager
async def watched_memory(process: psutil.Process) -> AsyncIterator[list[int]]:
    """Give the greatest growth of a process's memory so far, in bytes, as the only item."""
    before, growth = process.memory_info().rss, [0]

    async def watch() -> None:
        while True:
            growth[0] = max(growth[0], process.memory_info().rss - before)
            await asyncio.sleep(0.02)

    watching = asyncio.create_task(watch())
    try:
        yield growth
    finally:
        watching.cancel()


def check_json(content: bytes) -> None:
    found = json.loads(content)
    assert (found["credit_count"], found["debit_count"]) == (ENTRIES // 2, ENTRIES // 2)
    assert (found["total_credits"], found["total_debits"]) == (CREDITS, DEBITS)
    assert found["closing_balance"] == CREDITS - DEBITS
    assert [entry["sequence"] for entry in found["entries"]] == list(range(1, ENTRIES + 1))
    assert found["entries"][-1]["balance_after"] == found["closing_balance"]


def check_csv(content: bytes) -> None:
    rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    assert len(rows) == ENTRIES + 4
    assert rows[-2]["amount_minor"] == str(CREDITS)
    assert rows[ENTRIES]["balance"] == rows[-1]["balance"] == "24999500.00"


def check_pdf(content: bytes) -> None:
    pages = pypdf.PdfReader(io.BytesIO(content)).pages
    last = pages[-1].extract_text()
    assert f"Page {len(pages)} of {len(pages)}" in last
    assert f"Entry {ENTRIES}" in pages[-2].extract_text() + last
    assert "24,999,500.00" in last


@pytest.mark.parametrize(
    ("name", "check"), [("json", check_json), ("csv", check_csv), ("pdf", check_pdf)]
)
async def test_a_hundred_thousand_entries_are_not_kept_in_memory(
    long: Long, name: str, check: Callable[[bytes], None]
) -> None:
    await long.get(name, **{"from": "2190-01-01T00:00:00Z"})
    async with watched_memory(long.processes(of_pdf=False)[-1]) as growth:
        response = await long.get(name)
    assert growth[0] < GROWTH_MIB_MAXIMUM * MIB
    check(response.content)


async def test_a_few_of_many_entries_are_found_by_their_time(long: Long) -> None:
    path = f"/accounts/{long.account['id']}/entries"
    ledger = (await long.client.get(path, order="asc", limit=100))["data"]

    def first_at(moment: datetime) -> int:
        times = [datetime.fromisoformat(entry["created_at"]) for entry in ledger]
        return next(number for number, time in enumerate(times, start=1) if time >= moment)

    begin = datetime.fromisoformat(ledger[30]["created_at"])
    for tenths in range(0, 200, 7):
        moment = begin + timedelta(seconds=tenths / 10)
        until_then = moment + timedelta(seconds=2.5)
        period = {"from": moment.isoformat(), "to": until_then.isoformat()}
        found = (await long.get("json", **period)).json()
        expected = list(range(first_at(moment), first_at(until_then)))
        assert [entry["sequence"] for entry in found["entries"]] == expected
        assert found["opening_balance"] == ledger[first_at(moment) - 2]["balance_after"]


async def test_a_statement_over_the_limit_of_its_format_is_refused(
    long: Long, database: str
) -> None:
    limits = {StatementFormat.CSV: ENTRIES, StatementFormat.PDF: ENTRIES - 1}
    account = AccountReference.parse(long.account["id"])
    async with open_services(database) as services:
        service = StatementService(services.database, entries_maximum=limits)
        period = (long.client.tenant_id, account, StatementPeriod())
        async with service.open(*period, StatementFormat.CSV) as statement:
            assert statement.summary.entry_count == ENTRIES
        with pytest.raises(StatementTooLong, match="99,999"):
            async with service.open(*period, StatementFormat.PDF):
                pass
    assert status_of(StatementTooLong("")) == HTTPStatus.UNPROCESSABLE_ENTITY


async def test_more_at_once_than_a_process_takes_in_is_refused_until_clients_go_away(
    long: Long,
) -> None:
    async def are_at_work() -> bool:
        return len(long.processes(of_pdf=True)) == STATEMENTS_PREPARED_AT_ONCE

    async def are_gone() -> bool:
        return not long.processes(of_pdf=True)

    asked = [await long.ask("pdf") for _ in range(STATEMENTS_PREPARED_AT_ONCE)]
    await until(are_at_work)
    refused = await long.client.http.get(long.path)
    problem_of(refused, 503, "overloaded")
    assert refused.headers["Retry-After"] == "1"
    for _, writer in asked:
        writer.close()
    await until(are_gone)
    await long.get("json", **{"from": "2190-01-01T00:00:00Z"})


async def test_clients_that_do_not_read_hold_no_connection_to_the_database(
    long: Long, database: str
) -> None:
    async def nothing_is_open() -> bool:
        return await open_transactions(database) == 0

    asked = [await long.ask("csv") for _ in range(STATEMENTS_PREPARED_AT_ONCE)]
    await asyncio.sleep(0.5)
    assert await open_transactions(database) > 0
    await until(nothing_is_open)
    await long.get("json", **{"from": "2190-01-01T00:00:00Z"})
    for _, writer in asked:
        writer.close()


async def open_transactions(database_url: str) -> int:
    """Count snapshots that statements are read from."""
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        cursor = await connection.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND xact_start < clock_timestamp() - interval '0.2 seconds'"
        )
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])
