"""Nine thousand real transactions, imported by the real command, against the bank's own balances.

All of them as one batch, and a sample of the accounts one by one.
"""

import asyncio
import csv
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import pytest

from runtime.composition import Services
from tests.conftest import SERVERS
from tests.support.api import Client, Json
from tests.support.proof import require_clean_ledger
from tests.support.rows import rows_of_tenant
from tests.support.stack import Stack
from tests.support.tenants import TenantMaker

FOLDER = Path(
    os.environ.get("BERKA_DIR")
    or Path(__file__).resolve().parents[2].parent / "shared" / "data" / "berka"
)
WAYS: dict[str, tuple[str, ...]] = {"in batches": (), "one by one": ("--one-by-one",)}
SAMPLE_EVERY = {"in batches": 1, "one by one": 20}
"""Of all accounts, one in so many is imported."""
ACCOUNTS_AGAIN = 30
DAYS_ASKED = 150
"""Of all accounts' days, so many are asked for the balance as of then."""
READERS = 8
PAGE_SIZE = 200

pytestmark = pytest.mark.skipif(
    not (FOLDER / "transfers.csv").exists(),
    reason=f"the Berka data is not in {FOLDER}; BERKA_DIR names another folder",
)

Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Bank:
    """The rows that were imported, as the bank published them, and a client of their tenant.

    Parameters
    ----------
    entries
        What the API lists of each account, oldest first.
    """

    client: Client
    stack: Stack
    transfers_csv: Path
    way: str
    accounts: Sequence[Row]
    transfers: Sequence[Row]
    report: Json
    seconds: float
    entries: Mapping[str, Sequence[Json]]

    def published(self) -> dict[str, list[Row]]:
        """Give the rows of each account, in order."""
        by_account = sorted(self.transfers, key=lambda row: row["account"])
        return {name: list(rows) for name, rows in groupby(by_account, lambda row: row["account"])}


def read(name: str) -> list[Row]:
    with (FOLDER / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: Sequence[Row]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


async def entries_of(client: Client, names: Sequence[str]) -> dict[str, list[Json]]:
    turns = asyncio.Semaphore(READERS)

    async def read_all(account: str) -> list[Json]:
        async with turns:
            pages = client.walk(f"/accounts/{account}/entries", limit=PAGE_SIZE, order="asc")
            return [entry async for page in pages for entry in page]

    found = await asyncio.gather(*map(read_all, names))
    return dict(zip(names, found, strict=True))


async def run_import(client: Client, files: tuple[Path, Path], way: str) -> Json:
    """Run the command as a person does, and give its report."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.main", "import", *map(str, files), "--json", *WAYS[way]),
        env={
            **os.environ,
            "TRANSFERS_API_URL": client.api_url,
            "TRANSFERS_API_KEY": client.api_key,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, messages = await process.communicate()
    assert process.returncode == 0, messages.decode() + output.decode()
    report: Json = json.loads(output)
    return report


@pytest.fixture(scope="module", params=WAYS)
async def bank(
    request: pytest.FixtureRequest,
    stack: Stack,
    services: Services,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Bank]:
    way: str = request.param
    accounts = read("accounts.csv")[:: SAMPLE_EVERY[way]]
    names = [f"ext:{account['external_id']}" for account in accounts]
    transfers = [row for row in read("transfers.csv") if row["account"] in names]
    folder = tmp_path_factory.mktemp("berka")
    files = write(folder / "accounts.csv", accounts), write(folder / "transfers.csv", transfers)
    async with AsyncExitStack() as clients:
        client = await TenantMaker(stack.api_url, services.access, clients)()
        began = time.perf_counter()
        report = await run_import(client, files, way)
        seconds = time.perf_counter() - began
        entries = await entries_of(client, names)
        yield Bank(client, stack, files[1], way, accounts, transfers, report, seconds, entries)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def test_every_row_is_imported(bank: Bank) -> None:
    rows, accounts = len(bank.transfers), len(bank.accounts)
    assert {"rows": rows, "succeeded": rows, "accounts_created": accounts}.items() <= (
        bank.report.items()
    )


async def test_in_batches_all_of_it_is_one_batch(bank: Bank) -> None:
    batches = (await bank.client.get("/transfer-batches"))["data"]
    succeeded = [batch["counts"]["succeeded"] for batch in batches]
    assert succeeded == ([len(bank.transfers)] if bank.way == "in batches" else [])


def test_every_balance_is_the_one_that_the_bank_published(
    bank: Bank, pytestconfig: pytest.Config
) -> None:
    equal = 0
    for account, rows in bank.published().items():
        balances = [entry["balance_after"] for entry in bank.entries[account]]
        assert balances == [int(row["balance_after"]) for row in rows], account
        equal += len(balances)
    total = len(bank.transfers)
    assert equal == total
    pytestconfig.stash[SERVERS].append(
        f"Berka: {equal:,} of {total:,} balances equal; {len(bank.accounts)} accounts, "
        f"imported {bank.way} in {bank.seconds:.1f} s, {total / bank.seconds:.0f} transfers/s"
    )


def test_every_entry_counts_from_the_day_that_its_row_says(bank: Bank) -> None:
    for account, rows in bank.published().items():
        entries = bank.entries[account]
        assert [moment(entry["effective_at"]) for entry in entries] == [
            moment(row["effective_at"]) for row in rows
        ]
        assert [(entry["direction"], entry["amount"]) for entry in entries] == [
            ("CREDIT" if row["type"] == "DEPOSIT" else "DEBIT", int(row["amount"])) for row in rows
        ]


async def test_a_balance_as_of_a_day_is_what_the_days_last_row_published(bank: Bank) -> None:
    asked = [
        (account, day, list(rows))
        for account, rows_of_account in bank.published().items()
        for day, rows in groupby(rows_of_account, lambda row: row["effective_at"])
    ]
    asked = asked[:: max(1, len(asked) // DAYS_ASKED)]
    assert [rows for _, _, rows in asked if len(rows) > 1]
    turns = asyncio.Semaphore(READERS)

    async def compare(account: str, day: str, rows: list[Row]) -> None:
        async with turns:
            balance = await bank.client.get(f"/accounts/{account}/balance", as_of=day)
        assert balance["posted"] == int(rows[-1]["balance_after"]), (account, day)

    await asyncio.gather(*(compare(*one) for one in asked))


async def test_importing_the_same_rows_again_moves_nothing(bank: Bank, tmp_path: Path) -> None:
    before = await rows_of_tenant(bank.stack.database_url, bank.client.tenant_id)
    # That accounts are found again, a few of them show.
    few = write(tmp_path / "accounts.csv", bank.accounts[:ACCOUNTS_AGAIN])
    report = await run_import(bank.client, (few, bank.transfers_csv), bank.way)
    assert (report["rows"], report["replayed"]) == (len(bank.transfers), len(bank.transfers))
    assert (report["succeeded"], report["accounts_created"], report["users_created"]) == (0, 0, 0)
    assert await rows_of_tenant(bank.stack.database_url, bank.client.tenant_id) == before


async def test_the_ledger_is_clean_after_it(bank: Bank) -> None:
    await require_clean_ledger(bank.stack)
