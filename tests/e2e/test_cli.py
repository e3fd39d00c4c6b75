"""Every command as a person runs it, against the real stack."""

import json
import uuid
from collections.abc import Sequence
from pathlib import Path

import psycopg
import pytest

from domain.access import OPERATOR_SCOPES, Scope
from domain.account_numbers import BODY_MINIMUM, account_number_from
from runtime.composition import open_services
from tests.support.api import Client, Json, new_key
from tests.support.command import Command
from tests.support.postgres import PostgresServer
from tests.support.sealed import SealedLedger
from tests.support.stack import Stack
from tests.support.wallets import make_wallets

NOWHERE = "postgresql://nobody:password@127.0.0.1:1/nothing"


@pytest.fixture
def transfers(tenant: Client) -> Command:
    """Give the command for a new tenant."""
    return Command(TRANSFERS_API_URL=tenant.api_url, TRANSFERS_API_KEY=tenant.api_key)


@pytest.fixture
def administrate(stack: Stack) -> Command:
    """Give the command for the stack's servers."""
    return Command(
        DATABASE_URL=stack.service_url,
        TEMPORAL_ADDRESS=stack.temporal_address,
        TEMPORAL_NAMESPACE=stack.temporal_namespace,
    )


async def two_accounts(transfers: Command) -> tuple[Json, Json]:
    """Open two accounts of one user with the command."""
    user = (
        await transfers.printed("users", "create", "Ada", "--external-id", "ada", "--json")
    ).document
    made = [
        await transfers.printed(
            *("accounts", "create", "--user", user["id"], "--currency", "EUR"),
            *("--external-id", name, "--json"),
        )
        for name in ("ada-eur", "ada-savings")
    ]
    return made[0].document, made[1].document


async def test_money_is_sent_and_shown(transfers: Command) -> None:
    first, second = await two_accounts(transfers)
    await transfers.printed("send", "--to", first["id"], "--amount", 12_345, "--currency", "EUR")
    sent = await transfers.printed(
        *("send", "--from", "ext:ada-eur", "--to", second["account_number"], "--amount", 45),
        *(
            "--currency",
            "EUR",
            "--key",
            "k-1",
            "--description",
            "Rent [May]",
            "--wait",
            20,
            "--json",
        ),
    )
    assert (sent.document["state"], sent.document["type"]) == ("SUCCESS", "INTERNAL")
    assert sent.messages == ""
    shown = await transfers.printed(
        *("show", sent.document["id"], "--events", "--entries", "--workflow")
    )
    for text in ("SUCCESS", "Rent [May]", "COMPLETED", "0.45 EUR", "123.00 EUR", "DEBIT", "k-1"):
        assert text in shown.output
    listed = await transfers.printed("accounts", "list", "--currency", "EUR")
    assert "123.00 EUR" in listed.output
    assert "-123.45 EUR" in listed.output


async def test_json_is_what_the_api_answers(transfers: Command, tenant: Client) -> None:
    first, _second = await two_accounts(transfers)
    deposit = (await tenant.deposit(first["id"], 500))["id"]
    for path, *arguments in (
        ("/users", "users", "list"),
        ("/accounts", "accounts", "list"),
        ("/transfers", "list", "--account", "ext:ada-eur", "--type", "DEPOSIT"),
        (f"/transfers/{deposit}", "show", deposit),
    ):
        printed = await transfers.printed(*arguments, "--json")
        assert printed.document == await tenant.get(path), arguments
    parts = (await transfers.printed("show", deposit, "--events", "--entries", "--json")).document
    assert list(parts) == ["transfer", "events", "entries"]
    assert parts["entries"] == (await tenant.get(f"/transfers/{deposit}/entries"))["data"]


async def test_a_list_goes_on_where_the_page_before_ended(
    transfers: Command, tenant: Client
) -> None:
    for name in ("Ada", "Bob"):
        await tenant.user(name)
    first = await transfers.printed("users", "list", "--limit", 1)
    assert ("Bob" in first.output, "Ada" in first.output) == (True, False)
    cursor = first.messages.split("--cursor ")[1].strip()
    second = await transfers.printed("users", "list", "--limit", 1, "--cursor", cursor)
    assert "Ada" in second.output
    nobody = await transfers.printed("users", "list", "--external-id", "nobody")
    assert (nobody.output, nobody.messages) == ("", "There are none.\n")


async def test_a_key_that_is_made_up_is_told_and_repeats_the_outcome(transfers: Command) -> None:
    await two_accounts(transfers)
    deposit = ("send", "--to", "ext:ada-eur", "--amount", 100, "--currency", "EUR")
    first = await transfers.printed(*deposit, "--json")
    key = first.messages.removeprefix("Idempotency key: ").split()[0]
    assert key == first.document["idempotency_key"]
    second = await transfers.printed(*deposit, "--key", key)
    assert "nothing moved now" in second.messages
    balances = (
        await transfers.printed("accounts", "list", "--external-id", "ada-eur", "--json")
    ).document
    assert balances["data"][0]["balance"]["posted"] == 100


async def test_money_can_be_sent_without_waiting_and_looked_up_by_its_key(
    transfers: Command,
) -> None:
    await two_accounts(transfers)
    promised = await transfers.printed(
        *("send", "--to", "ext:ada-eur", "--amount", 7, "--currency", "EUR", "--async", "--json")
    )
    assert promised.document["state"] == "PROCESSING"
    assert f"transfers show {promised.document['id']}" in promised.messages
    key = promised.document["idempotency_key"]
    await transfers.printed(
        *("send", "--to", "ext:ada-eur", "--amount", 7, "--currency", "EUR", "--key", key)
    )
    found = (await transfers.printed("list", "--key", key, "--json")).document["data"]
    assert [(each["id"], each["state"]) for each in found] == [(promised.document["id"], "SUCCESS")]


async def test_a_refusal_is_told_by_code_and_transfer(transfers: Command) -> None:
    await two_accounts(transfers)
    withdrawal = ("send", "--from", "ext:ada-eur", "--amount", 5, "--currency", "EUR")
    ending = await transfers(*withdrawal, "--key", "too-much", "--json")
    assert ending.code == 1
    assert ending.document["code"] == "insufficient_funds"
    assert "Error: insufficient_funds: " in ending.messages
    assert "is recorded as FAILED" in ending.messages
    assert "insufficient_funds" in (await transfers.printed("list", "--state", "FAILED")).output
    reused = await transfers.refused(
        *withdrawal[:3], "--amount", 6, "--currency", "EUR", "--key", "too-much"
    )
    assert "idempotency_key_reused" in reused


async def test_fields_that_are_wrong_are_told_in_the_commands_own_words(
    transfers: Command,
) -> None:
    said = await transfers.refused("accounts", "create", "--user", "ada", "--currency", "eur")
    assert "Error: validation_failed\n  --user: " in said
    assert "\n  currency: must be the code of a currency" in said
    said = await transfers.refused(
        *("send", "--from", "1234", "--to", "?", "--amount", 0, "--currency", "EUR")
    )
    assert "\n  --from: must name an account" in said
    assert "\n  amount: must be 1 to 10^30" in said


async def test_an_api_that_does_not_answer_or_know_the_key_is_told(
    stack: Stack, tmp_path: Path
) -> None:
    command = Command()
    elsewhere = ("--data-dir", tmp_path)
    assert "transfers dev" in await command.refused("users", "list", *elsewhere)
    away = ("users", "list", "--api-url", "http://127.0.0.1:1", "--api-key", "key")
    assert "http://127.0.0.1:1 does not answer" in await command.refused(*away)
    wrong = ("users", "list", "--api-url", stack.api_url, "--api-key", "key")
    assert "unauthenticated" in await command.refused(*wrong)
    other = ("users", "list", "--api-url", f"{stack.api_url}/docs", "--api-key", "key")
    assert "not_found" in await command.refused(*other)


async def test_keys_are_made_listed_and_revoked(administrate: Command, stack: Stack) -> None:
    name = new_key()
    made = await administrate.printed("keys", "create", "--tenant", name, "--name", "till")
    secret = made.output.strip()
    listed = await administrate.printed("keys", "list", "--tenant", name, "--json")
    [key] = listed.document["data"]
    assert (key["tenant"], key["name"], key["revoked_at"]) == (name, "till", None)
    apart = {Scope.TRANSFERS_APPROVE, Scope.RULES_WRITE, Scope.AUDIT_READ, Scope.KEYS_WRITE}
    assert set(key["scopes"]) == set(Scope) - OPERATOR_SCOPES - apart
    assert secret not in listed.output
    caller = Command(TRANSFERS_API_URL=stack.api_url, TRANSFERS_API_KEY=secret)
    await caller.printed("users", "list")
    await administrate.printed("keys", "revoke", key["id"])
    assert "unauthenticated" in await caller.refused("users", "list")
    assert "api_key_not_found" in await administrate.refused("keys", "revoke", "nothing")


async def test_a_key_has_the_scopes_that_are_asked_for(administrate: Command) -> None:
    create = ("keys", "create", "--tenant", new_key(), "--name", "k", "--json")
    operator = (await administrate.printed(*create, "--operator")).document
    assert set(operator["scopes"]) == set(Scope)
    assert operator["key"].startswith(operator["prefix"])
    chosen = ("--scope", "users:read", "--scope", "accounts:read")
    narrow = (await administrate.printed(*create, *chosen)).document
    assert narrow["scopes"] == ["accounts:read", "users:read"]
    unknown = await administrate(*create, "--scope", "everything")
    assert (unknown.code, unknown.output) == (2, "")


async def test_a_database_is_migrated_up_and_down(postgres: PostgresServer) -> None:
    async with postgres.database(migrated=False) as url:
        command = Command(DATABASE_URL=url)
        assert "run `transfers migrate`" in await command.refused("keys", "list")
        assert "run `transfers migrate`" in await command.refused("api")
        assert "run `transfers migrate`" in await command.refused("worker")
        assert "Can't locate revision" in await command.refused("migrate", "--revision", "nope")
        for _ in range(2):
            assert "is at revision 0" in (await command.printed("migrate")).messages
        await command.printed("keys", "list")
        await command.printed("migrate", "--downgrade-to", "base")
        assert "run `transfers migrate`" in await command.refused("keys", "list")


@pytest.mark.parametrize(
    "arguments", [("api",), ("worker",), ("migrate",), ("keys", "list"), ("verify",)]
)
async def test_a_database_that_is_not_there_or_not_named_is_told(
    arguments: Sequence[str], tmp_path: Path
) -> None:
    said = await Command(DATABASE_URL=NOWHERE).refused(*arguments)
    assert "PostgreSQL cannot be reached: connection failed" in said
    assert len(said.splitlines()) == 1
    is_server = arguments[0] in {"api", "worker"}
    elsewhere = () if is_server else ("--data-dir", str(tmp_path))
    assert "DATABASE_URL is not set" in await Command().refused(*arguments, *elsewhere)


async def test_a_ledger_that_is_right_is_proved(administrate: Command, tenant: Client) -> None:
    await tenant.account(balance=100)
    shown = await administrate.printed("verify")
    assert "All 7 invariants hold." in shown.output
    report = (await administrate.printed("verify", "--json")).document
    assert report["is_clean"] is True
    assert [check["invariant"] for check in report["checks"]] == list(range(1, 8))
    assert all(check["violations"] == [] for check in report["checks"])


async def test_a_ledger_that_was_tampered_with_is_told(
    postgres: PostgresServer, stack: Stack
) -> None:
    async with postgres.database() as url:
        command = Command(
            DATABASE_URL=url,
            TEMPORAL_ADDRESS=stack.temporal_address,
            TEMPORAL_NAMESPACE=stack.temporal_namespace,
        )
        await tamper(postgres.as_admin(url))
        ending = await command("verify")
        assert ending.code == 1
        assert "The ledger is not right" in ending.output
        assert "Invariant 2 (balances): " in ending.output
        assert (await command("verify", "--json")).document["is_clean"] is False


async def test_a_sealed_entry_that_was_altered_is_named_although_the_invariants_hold(
    postgres: PostgresServer, stack: Stack
) -> None:
    async with (
        postgres.database() as url,
        open_services(postgres.as_service(url)) as services,
    ):
        command = Command(
            DATABASE_URL=url,
            TEMPORAL_ADDRESS=stack.temporal_address,
            TEMPORAL_NAMESPACE=stack.temporal_namespace,
        )
        ledger = SealedLedger(services, await make_wallets(services), postgres.as_admin(url))
        await ledger.move(100)
        await ledger.seal()
        assert (await command("verify")).code == 0

        await ledger.tamper(
            "UPDATE ledger_entries SET effective_at = effective_at - interval '1 day'"
            " WHERE direction = 'DEBIT'"
        )
        [altered] = await ledger.entries(ledger.wallets.source.id)
        ending = await command("verify")
        assert ending.code == 1
        assert "All 7 invariants hold." in ending.output
        assert "The ledger is not what was sealed." in ending.output
        assert f"entry {altered['id']}: sequence 1 of account" in ending.output
        report = (await command("verify", "--json")).document
        assert report["is_clean"] is False
        assert [violation for check in report["checks"] for violation in check["violations"]] == []
        assert len(report["seals"]["violations"]) == 1


async def tamper(admin_url: str) -> None:
    """Give an account money from nowhere, as only the database's superuser can."""
    values = {name: uuid.uuid4() for name in ("tenant", "user", "account")}
    async with await psycopg.AsyncConnection.connect(admin_url, autocommit=True) as connection:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(
            "INSERT INTO accounts (id, tenant_id, account_number, user_id, kind, currency)"
            " VALUES (%(account)s, %(tenant)s, %(number)s, %(user)s, 'CUSTOMER', 'EUR')",
            values | {"number": account_number_from(BODY_MINIMUM)},
        )
        await connection.execute(
            "INSERT INTO balances (account_id, tenant_id, currency, kind, overdraft_limit_minor,"
            " posted_minor) VALUES (%(account)s, %(tenant)s, 'EUR', 'CUSTOMER', 0, 1000000)",
            values,
        )


async def test_json_keeps_amounts_exact_however_large(transfers: Command) -> None:
    await two_accounts(transfers)
    amount = 10**30
    sent = await transfers.printed(
        *("send", "--to", "ext:ada-eur", "--amount", amount, "--currency", "EUR", "--json")
    )
    assert json.loads(sent.output)["amount"] == amount
    shown = await transfers.printed("show", sent.document["id"])
    assert f"{amount // 100:,}.00 EUR" in shown.output
