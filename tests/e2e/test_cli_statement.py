"""``transfers accounts statement`` as a person runs it."""

import csv
import io
import os
from pathlib import Path

import pypdf
import pytest

from tests.support.api import Client, Json
from tests.support.command import Command
from tests.support.stack import Stack


@pytest.fixture
def transfers(stack: Stack, tenant: Client) -> Command:
    return Command(TRANSFERS_API_URL=stack.api_url, TRANSFERS_API_KEY=tenant.api_key)


@pytest.fixture
async def account(tenant: Client) -> Json:
    return await tenant.account(balance=1_250, external_id="ada-eur")


async def test_a_statement_is_printed_as_json_and_as_csv(transfers: Command, account: Json) -> None:
    command = ("accounts", "statement", "ext:ada-eur")

    printed = await transfers.printed(*command)
    assert printed.document["account"]["id"] == account["id"]
    assert printed.document["closing_balance"] == 1_250
    before = await transfers.printed(*command, "--to", "2000-01-01T00:00:00Z")
    assert before.document["entries"] == []

    printed = await transfers.printed(*command, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(printed.output)))
    assert [row["kind"] for row in rows] == ["OPENING", "ENTRY", "TOTAL", "TOTAL", "CLOSING"]
    assert rows[-1]["balance"] == "12.50"


async def test_a_statement_is_written_to_a_file(
    transfers: Command, account: Json, tmp_path: Path
) -> None:
    path = tmp_path / "statement.pdf"

    done = await transfers.printed(
        *("accounts", "statement", account["account_number"]),
        *("--format", "pdf", "--output", path),
    )

    assert (done.output, done.messages.replace("\n", "")) == ("", f"Wrote {path}.")
    (page,) = pypdf.PdfReader(path).pages
    assert "12.50" in page.extract_text()


async def test_a_refusal_is_told_in_the_commands_own_words_and_leaves_no_file(
    transfers: Command, account: Json, tmp_path: Path
) -> None:
    path = tmp_path / "statement.csv"
    command = ("accounts", "statement", account["id"], "--format", "csv", "--output", path)

    said = await transfers.refused(
        *command, "--from", "2026-02-01T00:00:00Z", "--to", "2026-01-01T00:00:00Z"
    )
    assert "--from: must not be later than to" in said
    said = await transfers.refused(*command, "--from", "yesterday")
    assert "--from: must be a time of RFC 3339" in said
    said = await transfers.refused("accounts", "statement", "ext:nobody")
    assert "account_not_found" in said
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - pathlib's way is refused here as blocking


async def test_a_file_that_cannot_be_written_is_named(
    transfers: Command, account: Json, tmp_path: Path
) -> None:
    path = tmp_path / "missing" / "statement.csv"
    said = await transfers.refused("accounts", "statement", account["id"], "--output", path)
    assert "statement.csv cannot be written: No such file or directory." in said
