"""What is done to transfers that rest, as a person does it with the command."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runtime.composition import Services
from tests.support.api import Client, Json
from tests.support.command import Command
from tests.support.rules import require_approval
from tests.support.tenants import TenantMaker


@pytest.fixture
def transfers(tenant: Client) -> Command:
    """Give the command for a new tenant."""
    return Command(TRANSFERS_API_URL=tenant.api_url, TRANSFERS_API_KEY=tenant.api_key)


@pytest.fixture
async def accounts(tenant: Client) -> tuple[Json, Json]:
    return await tenant.account(balance=1_000), await tenant.account()


def send(accounts: tuple[Json, Json], amount: int = 600) -> tuple[object, ...]:
    source, destination = (account["id"] for account in accounts)
    return ("send", "--from", source, "--to", destination, "--amount", amount, "--currency", "EUR")


async def test_money_is_held_captured_in_parts_and_taken_back(
    transfers: Command, tenant: Client, accounts: tuple[Json, Json]
) -> None:
    sent = (*send(accounts), "--hold", "--expires-in", "2h", "--json")
    held = (await transfers.printed(*sent)).document
    ends = datetime.fromisoformat(held["expires_at"]) - datetime.fromisoformat(held["created_at"])
    assert (held["stage"], ends) == ("RESERVED", timedelta(hours=2))
    later = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    await transfers.printed("extend", held["id"], "--expires-at", later)
    await transfers.printed("capture", held["id"], "--amount", 100, "--key", "part-1")
    assert "6.00 EUR" in (await transfers.printed("show", held["id"])).output
    assert "PROCESSING (RESERVED)" in (await transfers.printed("list")).output

    last = await transfers.printed("capture", held["id"], "--amount", 50, "--final")
    assert "Idempotency key: " in last.messages
    for text in ("SUCCESS", "Captured", "1.50 EUR"):
        assert text in last.output
    again = await transfers.printed("capture", held["id"], "--amount", 100, "--key", "part-1")
    assert "nothing moved now" in again.messages
    assert await tenant.balance(accounts[0]) == (850, 0)

    back = ("reverse", held["id"], "--amount", 40, "--reason", "damaged", "--json")
    reversal = (await transfers.printed(*back)).document
    assert (reversal["type"], reversal["reversal_of"]) == ("REVERSAL", held["id"])
    shown = (await transfers.printed("show", held["id"], "--events", "--reversals")).output
    for text in ("Reversed", "0.40 EUR", "extend", '"amount": 100', reversal["id"]):
        assert text in shown
    assert await tenant.balance(accounts[0]) == (890, 0)


async def test_a_hold_is_given_up_with_a_reason(
    transfers: Command, accounts: tuple[Json, Json]
) -> None:
    held = (await transfers.printed(*send(accounts), "--hold", "--json")).document
    gone = await transfers.printed("cancel", held["id"], "--reason", "out of stock")
    assert "cancelled: out of stock" in gone.output
    said = await transfers.refused("capture", held["id"])
    assert "already_failed" in said
    assert "transfer_not_found" in await transfers.refused("cancel", accounts[0]["id"])


async def test_a_transfer_can_wait_for_its_time(
    transfers: Command, accounts: tuple[Json, Json]
) -> None:
    later = (datetime.now(UTC) + timedelta(days=300)).isoformat(timespec="seconds")
    promised = await transfers.printed(*send(accounts), "--execute-at", later, "--json")
    assert promised.document["stage"] == "SCHEDULED"
    assert f"transfers show {promised.document['id']}" in promised.messages
    shown = (await transfers.printed("show", promised.document["id"])).output
    assert f"Scheduled for    {later[:10]}" in shown
    assert "cancelled" in (await transfers.printed("cancel", promised.document["id"])).output


async def test_several_legs_come_from_a_file(
    transfers: Command, tenant: Client, accounts: tuple[Json, Json], tmp_path: Path
) -> None:
    source, destination = (account["id"] for account in accounts)
    file = tmp_path / "legs.json"
    legs = [
        {"source": source, "destination": destination, "amount": 100, "currency": "EUR"},
        {"source": destination, "destination": source, "amount": 30, "currency": "EUR"},
    ]
    file.write_text(json.dumps(legs))
    sent = await transfers.printed("send", "--legs", file, "--key", "split")
    for text in ("SUCCESS", "(first of 2 legs)", "Legs", "0.30 EUR"):
        assert text in sent.output
    assert await tenant.balance(accounts[0]) == (930, 0)
    file.write_text(json.dumps(legs * 13))
    many = (await transfers.printed("send", "--legs", file, "--json")).document
    shown = await transfers.printed("show", many["id"], "--entries", "--json")
    assert len(shown.document["entries"]) == 2 * 26
    file.write_text(json.dumps(legs[0]))
    assert "holds no JSON list" in await transfers.refused("send", "--legs", file)


async def test_what_waits_for_its_approval_is_approved_or_rejected_with_another_key(
    transfers: Command,
    services: Services,
    make_tenant: TenantMaker,
    tenant: Client,
    accounts: tuple[Json, Json],
) -> None:
    await require_approval(services, tenant.tenant_id, deadline=timedelta(hours=1))
    approver = await make_tenant(tenant.record.tenant_name)
    theirs = Command(TRANSFERS_API_URL=tenant.api_url, TRANSFERS_API_KEY=approver.api_key)
    waiting = (await transfers.printed(*send(accounts, 300), "--json")).document
    assert waiting["stage"] == "AWAITING_APPROVAL"
    assert "maker_cannot_approve" in await transfers.refused("approve", waiting["id"])
    wrong = ("approve", waiting["id"], "--fingerprint", "0" * 64)
    assert "fingerprint_mismatch" in await theirs.refused(*wrong)
    right = ("--fingerprint", waiting["fingerprint"], "--note", "seen")
    await theirs.printed("approve", waiting["id"], *right)
    shown = (await transfers.printed("show", waiting["id"], "--approvals")).output
    assert "approve" in shown
    assert "seen" in shown

    second = (await transfers.printed(*send(accounts, 300), "--json")).document
    gone = await theirs.printed("reject", second["id"], "--note", "not ours")
    assert "rejected: not ours" in gone.output
