"""Approval rules, limits and what waits, as a person handles them."""

import pytest

from domain.access import Scope
from tests.support.api import Client
from tests.support.approvals import APPROVER_SCOPES, Desk
from tests.support.command import Command
from tests.support.tenants import TenantMaker


def command_of(client: Client) -> Command:
    return Command(
        TRANSFERS_API_URL=client.api_url, TRANSFERS_API_KEY=client.api_key, COLUMNS="250"
    )


@pytest.fixture
async def desk(tenant: Client, make_tenant: TenantMaker) -> Desk:
    return await Desk.open(tenant, make_tenant, approvers=1)


async def test_rules_are_created_listed_and_retired(desk: Desk) -> None:
    transfers = command_of(desk.maker)
    create = ("rules", "create", "--currency", "EUR", "--threshold", 50_000)
    rule = (await transfers.printed(*create, "--approvers", 2, "--deadline", 60, "--json")).document
    assert (rule["threshold"], rule["approvers"], rule["deadline_seconds"]) == (50_000, 2, 60)
    assert "approval_rule_taken" in await transfers.refused(*create)
    listed = (await transfers.printed("rules", "list", "--in-force")).output
    for text in (rule["id"], "500.00 EUR", "60 s"):
        assert text in listed
    assert "500.00 EUR" in (await transfers.printed("rules", "retire", rule["id"])).output
    assert (await transfers.printed("rules", "list", "--in-force", "--json")).document["data"] == []
    retired = (await transfers.printed("rules", "list", "--retired", "--json")).document["data"]
    assert [each["id"] for each in retired] == [rule["id"]]
    assert "approval_rule_not_found" in await transfers.refused("rules", "retire", "nothing")


async def test_an_approver_finds_what_waits(desk: Desk) -> None:
    approver = command_of(desk.approvers[0])
    assert "There are none." in (await approver.printed("approvals", "list")).messages
    await desk.maker.rule(500)
    waiting = await desk.waiting(600)
    await desk.ask(100)
    listed = (await approver.printed("approvals", "list")).output
    for text in (waiting["id"], "6.00 EUR", waiting["requested_by"]):
        assert text in listed
    document = (await approver.printed("approvals", "list", "--json")).document
    assert document["data"] == [waiting]
    rule = ("rules", "create", "--currency", "EUR", "--threshold", 1)
    assert "scope_missing" in await approver.refused(*rule)


async def test_limits_are_set_shown_and_cleared(desk: Desk, make_tenant: TenantMaker) -> None:
    transfers, account = command_of(desk.maker), desk.source["account_number"]
    await transfers.printed("limits", "set", account, "--per-transfer", 500, "--per-day", 1_000)
    await desk.ask(300)
    shown = (await transfers.printed("limits", "show", account)).output
    for text in ("5.00 EUR", "10.00 EUR, 7.00 EUR left", "none"):
        assert text in shown
    changed = await transfers.printed(
        *("limits", "set", account, "--per-day", "none", "--per-month", 900, "--json")
    )
    assert (changed.document["per_transfer"], changed.document["per_day"]) == (500, None)
    assert changed.document["left_this_month"] == 600
    cleared = (await transfers.printed("limits", "clear", account, "--json")).document
    assert cleared["per_transfer"] is None
    reader = await make_tenant(
        desk.maker.record.tenant_name, scopes=[*APPROVER_SCOPES, Scope.ACCOUNTS_READ]
    )
    assert "scope_missing" in await command_of(reader).refused("limits", "clear", account)
