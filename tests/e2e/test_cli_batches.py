"""Batches, as a person sends and follows them with the command."""

import csv
import io
import json
from datetime import timedelta
from pathlib import Path

import pytest

from runtime.composition import Services
from tests.support.api import Client, Json
from tests.support.batches import finished, row
from tests.support.command import Command
from tests.support.rules import require_approval


@pytest.fixture
def transfers(tenant: Client) -> Command:
    """Give the command for a new tenant."""
    return Command(TRANSFERS_API_URL=tenant.api_url, TRANSFERS_API_KEY=tenant.api_key)


@pytest.fixture
async def rows(tenant: Client) -> list[Json]:
    """Give two rows, of which the second cannot be posted."""
    account = (await tenant.account())["id"]
    return [row(7, type="DEPOSIT", destination=account), row(8, type="WITHDRAWAL", source="ext:no")]


def written(folder: Path, rows: list[Json]) -> Path:
    file = folder / "payroll.json"
    file.write_text(json.dumps({"transfers": rows}))
    return file


async def test_a_batch_is_sent_and_looked_at(
    transfers: Command, tenant: Client, rows: list[Json], tmp_path: Path
) -> None:
    sent = await transfers.printed("batches", "create", written(tmp_path, rows), "--wait", "--json")
    assert "rows" in sent.messages
    assert "2/2" in sent.messages
    batch = sent.document["id"]
    assert await tenant.posted(rows[0]["destination"]) == 7

    shown = (await transfers.printed("batches", "show", batch)).output
    for text in ("SUCCESS (COMPLETED)", "Rows rejected", "Not moved: account_not_found"):
        assert text in shown
    assert f"Row 2 ({rows[1]['idempotency_key']}): " in shown
    refused = (await transfers.printed("batches", "rows", batch, "--status", "REJECTED")).output
    assert rows[1]["idempotency_key"] in refused
    assert rows[0]["idempotency_key"] not in refused
    result = (await transfers.printed("batches", "result", batch)).output
    read = list(csv.DictReader(io.StringIO(result)))
    assert [each["status"] for each in read] == ["SUCCEEDED", "REJECTED"]
    lines = (await transfers.printed("batches", "result", batch, "--format", "ndjson")).output
    assert [json.loads(line)["amount"] for line in lines.splitlines()] == [7, 8]
    assert "batch_finished" in await transfers.refused("batches", "cancel", batch)


async def test_a_json_file_goes_all_or_nothing_when_the_command_says_so(
    transfers: Command, tenant: Client, rows: list[Json], tmp_path: Path
) -> None:
    sent = ("batches", "create", written(tmp_path, rows), "--atomic", "--description", "March")
    batch = (await transfers.printed(*sent, "--wait", "--json")).document
    assert (batch["atomic"], batch["description"], batch["stage"]) == (True, "March", "REJECTED")
    assert await tenant.posted(rows[0]["destination"]) == 0


async def test_a_batch_that_waits_for_an_approval_is_cancelled_with_a_reason(
    transfers: Command, tenant: Client, services: Services, tmp_path: Path
) -> None:
    asked = row(7, type="WITHDRAWAL", source=(await tenant.account(balance=7))["id"])
    await require_approval(services, tenant.tenant_id, deadline=timedelta(hours=1))
    single = {name: value for name, value in asked.items() if name != "idempotency_key"}
    await tenant.post_transfer(key=asked["idempotency_key"], **single)

    sent = await transfers.printed("batches", "create", written(tmp_path, [asked]), "--json")
    batch = sent.document["id"]
    assert "PROCESSING" in (await transfers.printed("batches", "show", batch)).output
    reason = ("--reason", "sent twice")
    assert batch in (await transfers.printed("batches", "cancel", batch, *reason)).output
    await finished(tenant, batch)
    shown = (await transfers.printed("batches", "show", batch)).output
    assert "FAILED (CANCELLED)" in shown
    assert "batch_cancelled" in shown
