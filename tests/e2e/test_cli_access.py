"""Keys, frozen accounts and the audit log, as a person handles them."""

import getpass

import pytest

from tests.support.api import Client, new_key
from tests.support.command import Command
from tests.support.stack import Stack


@pytest.fixture
def administrate(stack: Stack) -> Command:
    return Command(DATABASE_URL=stack.database_url, COLUMNS="250")


def caller(stack: Stack, secret: str) -> Command:
    return Command(TRANSFERS_API_URL=stack.api_url, TRANSFERS_API_KEY=secret, COLUMNS="250")


async def test_a_key_is_rotated_with_an_overlap(administrate: Command, stack: Stack) -> None:
    create = ("keys", "create", "--tenant", new_key(), "--name", "till", "--expires-in", "90d")
    made = (await administrate.printed(*create, "--json")).document
    assert made["expires_at"] is not None
    rotate = ("keys", "rotate", made["id"])
    rotated = await administrate.printed(*rotate, "--overlap", "1h", "--reason", "spring")
    second = rotated.output.strip()
    for secret in (made["key"], second):
        await caller(stack, secret).printed("users", "list")
    third = (await administrate.printed(*rotate, "--overlap", "0", "--json")).document["key"]
    for secret in (made["key"], second):
        assert "unauthenticated" in await caller(stack, secret).refused("users", "list")
    await caller(stack, third).printed("users", "list")
    assert "at most 31d" in await administrate.refused(*rotate, "--overlap", "32d")
    assert "takes a duration" in await administrate.refused(*rotate, "--overlap", "soon")


async def test_a_key_gets_a_rate_limit_and_loses_it(administrate: Command) -> None:
    create = ("keys", "create", "--tenant", new_key(), "--name", "till", "--json")
    made = (await administrate.printed(*create, "--rate", 5)).document
    assert (made["requests_per_second"], made["requests_burst"]) == (5, 10)
    limit = ("keys", "limit", made["id"])
    changed = (await administrate.printed(*limit, "--rate", 7, "--burst", 8, "--json")).document
    assert (changed["requests_per_second"], changed["requests_burst"]) == (7, 8)
    assert "as all keys" in (await administrate.printed(*limit)).messages
    assert "--burst needs --rate" in await administrate.refused(*limit, "--burst", 8)


async def test_an_account_is_frozen_for_a_reason_that_the_log_tells(
    tenant: Client, stack: Stack, administrate: Command
) -> None:
    transfers = caller(stack, tenant.api_key)
    account = (await tenant.account())["id"]
    for verb, status in (("freeze", "FROZEN"), ("unfreeze", "ACTIVE"), ("close", "CLOSED")):
        shown = await transfers.printed("accounts", verb, account, "--reason", f"to {verb}")
        assert status in shown.output
    listed = (await transfers.printed("audit", "--subject", account)).output
    for text in ("account.freeze", "to freeze", "to close", "test (api_key)", "127.0.0.1"):
        assert text in listed
    await administrate.printed("keys", "revoke", tenant.record.id, "--reason", "over")
    tenant.http.headers["Authorization"] = ""
    operator = ("keys", "create", "--tenant", new_key(), "--name", "o", "--operator", "--json")
    reader = caller(stack, (await administrate.printed(*operator)).document["key"])
    found = ("audit", "--subject", tenant.record.id, "--action", "api_key.revoke", "--json")
    (record,) = (await reader.printed(*found)).document["data"]
    assert (record["actor"]["kind"], record["actor"]["id"]) == ("cli", getpass.getuser())
    assert record["reason"] == "over"
