"""Stuck transfers as operators find and move them with the command, and as their runbook says."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from domain.access import Scope
from tests.e2e.test_readme import ROOT, run
from tests.support.api import Client, Json
from tests.support.command import Command
from tests.support.proof import require_clean_ledger
from tests.support.stack import Stack
from tests.support.stuck import (
    BrokenPosting,
    broken_posting,
    promised,
    until_listed,
    until_state,
    until_stuck,
)
from tests.support.tenants import TenantMaker

RUNBOOK = (ROOT / "docs" / "operations.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", RUNBOOK, flags=re.DOTALL)


@pytest.fixture
def transfers(tenant: Client) -> Command:
    return Command(TRANSFERS_API_URL=tenant.api_url, TRANSFERS_API_KEY=tenant.api_key)


@pytest.fixture
async def accounts(tenant: Client) -> tuple[Json, Json]:
    return await tenant.account(balance=1_000), await tenant.account()


@pytest.fixture
async def posting(stack: Stack, accounts: tuple[Json, Json]) -> AsyncIterator[BrokenPosting]:
    async with broken_posting(stack.database_url, accounts[1]) as posting:
        yield posting


async def test_a_stuck_transfer_is_found_read_and_moved_on(
    transfers: Command, tenant: Client, accounts: tuple[Json, Json], posting: BrokenPosting
) -> None:
    transfer = await promised(tenant, *accounts)
    await until_stuck(tenant, transfer["id"], "activity_failing")
    await until_listed(tenant, tenant.tenant_id, transfer)

    listed = await transfers.printed("stuck", "--tenant", tenant.tenant_id)

    for text in (transfer["id"], "activity_failing", "6.00 EUR", "the disk is full", "retry"):
        assert text in listed.output
    preview = await transfers.printed(
        *("operate", "retry", transfer["id"], "--reason", "mended", "--preview")
    )
    assert "would_be_done" in preview.output
    await posting.mend()
    stuck = ("--stuck", "--tenant", tenant.tenant_id, "--cause", "activity_failing")
    for other in (("--currency", "USD"), ("--kind", "BATCH")):
        ending = await transfers.printed("operate", "retry", *stuck, *other, "--reason", "mended")
        assert "Nothing is stuck in that way" in ending.messages
    await transfers("operate", "retry", *stuck, "--currency", "EUR", "--reason", "mended")
    await until_state(tenant, transfer["id"], "SUCCESS")
    nothing = await transfers.printed("stuck", "--tenant", tenant.tenant_id)
    assert "Nothing is stuck" in nothing.messages
    refused = await transfers("operate", "cancel", transfer["id"], "--reason", "too late")
    assert (refused.code, "has posted" in refused.output) == (1, True)
    narrowed = ("operate", "retry", transfer["id"], "--currency", "EUR", "--reason", "mended")
    assert "--currency goes with --stuck" in await transfers.refused(*narrowed)
    assert "not both" in await transfers.refused("operate", "retry", "--reason", "none named")


async def test_operators_see_another_tenants_transfer_that_its_own_command_does_not_show(
    make_tenant: TenantMaker, tenant: Client, accounts: tuple[Json, Json]
) -> None:
    held = await tenant.hold(source=accounts[0]["id"], destination=accounts[1]["id"], amount=600)
    operator = await make_tenant(scopes=[Scope.OPERATIONS_READ, Scope.TRANSFERS_READ])
    theirs = Command(TRANSFERS_API_URL=operator.api_url, TRANSFERS_API_KEY=operator.api_key)

    shown = (await theirs.printed("operate", "show", held["id"])).output

    for text in (held["id"], tenant.record.tenant_name, "not stuck", "RESERVED", "6.00 EUR"):
        assert text in shown
    found = (await theirs.printed("operate", "show", held["id"], "--json")).document
    assert (found["kind"], found["tenant_id"]) == ("TRANSFER", str(tenant.tenant_id))
    assert "transfer_not_found" in await theirs.refused("show", held["id"])
    assert "transfer_not_found" in await theirs.refused("operate", "show", "nonsense")
    await tenant.operate(held, "cancel")


async def test_the_commands_of_the_runbook_work_in_their_order(
    stack: Stack,
    tenant: Client,
    accounts: tuple[Json, Json],
    posting: BrokenPosting,
    tmp_path: Path,
) -> None:
    assert any("transfers operate retry" in block for block in BLOCKS)
    transfer = await promised(tenant, *accounts)
    await until_stuck(tenant, transfer["id"], "activity_failing")

    code, output = await run(
        "\n".join(BLOCKS),
        transfer=transfer["id"],
        TMPDIR=str(tmp_path),
        TRANSFERS_API_URL=stack.api_url,
        TRANSFERS_API_KEY=tenant.api_key,
        DATABASE_URL=stack.service_url,
        TEMPORAL_ADDRESS=stack.temporal_address,
        TEMPORAL_NAMESPACE=stack.temporal_namespace,
    )

    assert code == 0, output
    final = await tenant.get(f"/transfers/{transfer['id']}")
    assert final["failure"] == {"code": "cancelled", "message": "the customer asked for it"}
    assert (tmp_path / f"evidence-{transfer['id']}.pdf").stat().st_size
    await posting.mend()
    await require_clean_ledger(stack)
