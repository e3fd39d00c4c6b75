"""``transfers orders`` as a person runs it, against the real stack."""

import uuid

import pytest

from tests.support.api import Client
from tests.support.command import Command
from tests.support.waiting import until


@pytest.fixture
def transfers(tenant: Client) -> Command:
    """Give the command for a new tenant."""
    return Command(TRANSFERS_API_URL=tenant.api_url, TRANSFERS_API_KEY=tenant.api_key)


async def test_an_order_is_made_watched_paused_resumed_and_cancelled(
    tenant: Client, transfers: Command
) -> None:
    source = await tenant.account(balance=1_000, external_id="ada")
    destination = await tenant.account(external_id="bob")
    arguments = (
        *("orders", "create", "--from", "ext:ada", "--to", "ext:bob", "--amount", 10),
        *("--currency", "EUR", "--every", 1, "--key", "savings", "--missed-runs", "SKIP"),
    )
    made = (await transfers.printed(*arguments, "--json")).document
    assert (made["source"], made["destination"]) == (source["id"], destination["id"])
    again = await transfers.printed(*arguments)
    assert made["id"] in again.output
    assert "earlier request" in again.messages

    async def has_run() -> bool:
        listed = await transfers.printed("orders", "runs", made["id"])
        return "SUCCESS" in listed.output

    await until(has_run)
    paused = await transfers.printed("orders", "pause", made["id"], "--reason", "on holiday")
    for text in ("PAUSED", "on holiday", "every 1 s", "0.10 EUR", "SKIP"):
        assert text in paused.output
    listed = await transfers.printed("orders", "list", "--status", "PAUSED")
    assert made["id"] in listed.output
    assert "ACTIVE" in (await transfers.printed("orders", "resume", made["id"])).output
    cancelled = await transfers.printed("orders", "cancel", made["id"], "--reason", "enough")
    assert "CANCELLED" in cancelled.output
    shown = await transfers.printed("orders", "show", made["id"])
    for text in ("CANCELLED", "enough", "Last run", "none"):
        assert text in shown.output


async def test_a_mistake_is_named_in_the_commands_own_words(
    tenant: Client, transfers: Command
) -> None:
    account = await tenant.account()
    refused = await transfers(
        *("orders", "create", "--to", account["id"], "--amount", 10, "--currency", "EUR"),
        *("--cron", "0 9 32 * *", "--time-zone", "Mars/Base"),
    )
    assert refused.code == 1
    assert "--cron: has a wrong day-of-month" in refused.messages
    assert "--time-zone: must be a name" in refused.messages
    missing = await transfers("orders", "show", str(uuid.uuid4()))
    assert missing.code == 1
    assert "standing_order_not_found" in missing.messages
