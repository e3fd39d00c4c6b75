"""What operators see of stuck transfers in the console, and what they do about them there."""

import json
import re
import secrets

import pytest

from domain.access import Scope
from runtime.composition import Services
from tests.support.api import Client, Json
from tests.support.console import ConsoleClient, console_of
from tests.support.stack import Stack
from tests.support.stuck import (
    FAILURE,
    broken_posting,
    promised,
    until_closed,
    until_listed,
    until_stuck,
)
from tests.support.tenants import TenantMaker
from tests.support.waiting import until
from tests.support.wallets import make_wallets
from tests.support.workers import WorkerFactory

REASON = "The disk has space again"
PART = {"HX-Request": "true"}


@pytest.fixture
async def accounts(tenant: Client) -> tuple[Json, Json]:
    return await tenant.account(balance=2_000), await tenant.account()


def choices(tenant: Client, **fields: str) -> dict[str, str]:
    return {"tenant": str(tenant.tenant_id), "cause": "activity_failing", **fields}


async def previewed(console: ConsoleClient, tenant: Client, **fields: str) -> list[str]:
    """Preview a cancel of all that is stuck in a tenant, and give the ids that its form names."""
    response = await console.send(
        "/stuck/preview",
        page="/stuck",
        of="all",
        action="cancel",
        reason=REASON,
        **choices(tenant, **fields),
    )
    assert response.status_code == 200, response.text
    assert "what would happen" in response.text
    assert response.text.count("Would be done") == response.text.count('name="item"')
    return re.findall(r'name="item" value="([^"]+)"', response.text)


async def test_all_of_a_cause_are_previewed_and_then_done_by_those_who_may(
    stack: Stack, tenant: Client, make_tenant: TenantMaker, accounts: tuple[Json, Json]
) -> None:
    operator = await make_tenant()
    reader = await make_tenant(scopes=[Scope.OPERATIONS_READ])
    async with (
        broken_posting(stack.database_url, accounts[1]),
        console_of(operator) as console,
        console_of(reader) as looking,
    ):
        made = [await promised(tenant, *accounts, amount=amount) for amount in (600, 700)]
        ids = {transfer["id"] for transfer in made}
        for each in ids:
            await until_stuck(operator, each, "activity_failing")
        await until_listed(operator, tenant.tenant_id, *made)

        listed = await console.page(f"/stuck?tenant={tenant.tenant_id}&kind=TRANSFER&currency=EUR")
        assert set(re.findall(r'<tr id="stuck-([^"]+)"', listed)) == ids
        assert "7.00" in listed
        assert "Retry, Pause, Cancel, Resolve" in listed
        for other in ("kind=BATCH", "currency=USD", "cause=paused"):
            page = await console.page(f"/stuck?tenant={tenant.tenant_id}&{other}")
            assert "Nothing like that is stuck." in page

        assert set(await previewed(console, tenant)) == ids
        assert set(await previewed(console, tenant, currency="EUR")) == ids
        none = choices(tenant, of="all", action="cancel", reason=REASON, currency="USD")
        assert (await console.send("/stuck/preview", **none)).status_code == 303
        assert "none is stuck like that" in await console.page("/stuck")
        form = {"action": "cancel", "reason": REASON, "item": sorted(ids)}
        page = await looking.page("/stuck")
        assert 'name="action"' not in page
        token = re.findall(r'name="csrf_token" value="([^"]+)"', page)[0]
        for verb in ("preview", "act"):
            signed = {**form, "csrf_token": token}
            assert (await looking.http.post(f"/stuck/{verb}", data=signed)).status_code == 403
            # Another session's token, and none at all.
            assert (await console.http.post(f"/stuck/{verb}", data=signed)).status_code == 403
            assert (await console.http.post(f"/stuck/{verb}", data=form)).status_code == 403
        for each in ids:
            assert (await tenant.get(f"/transfers/{each}"))["state"] == "PROCESSING"

        response = await console.send("/stuck/act", page="/stuck", **form)
        assert response.status_code == 200
        assert "what was done" in response.text
    for each in ids:
        assert (await tenant.get(f"/transfers/{each}"))["failure"]["code"] == "cancelled"
    for each in ids:
        audit = await tenant.get("/audit-log", action="operations.cancel", subject_id=each)
        assert [row["reason"] for row in audit["data"]] == [REASON]


async def test_a_transfers_page_has_its_attempts_and_its_workflows_history(
    stack: Stack, tenant: Client, make_tenant: TenantMaker, accounts: tuple[Json, Json]
) -> None:
    clerk = await make_tenant(tenant.record.tenant_name, scopes=[Scope.TRANSFERS_READ])
    async with (
        console_of(tenant) as console,
        console_of(clerk) as looking,
        broken_posting(stack.database_url, accounts[1]),
    ):
        transfer = await promised(tenant, *accounts)
        path = f"/transfers/{transfer['id']}"
        await until_stuck(tenant, transfer["id"], "activity_failing")
        page = await console.page(path)
        assert re.search(r"<code>post_entries</code>: \d+ attempts? failed", page)
        assert FAILURE in page
        for part in ("workflow", "judgement"):
            whole = await console.page(f"{path}/{part}")
            assert "<!doctype html>" in whole
            fragment = await console.page(f"{path}/{part}", headers=PART)
            assert "<!doctype" not in fragment
            assert "post_entries" in fragment
        workflow = await looking.page(f"{path}/workflow", headers=PART)
        for text in ("Activity pending", "Local activity failed", FAILURE, "reserve_funds"):
            assert text in workflow
        if stack.temporal_ui_url:
            assert f'href="{stack.temporal_ui_url}/namespaces/' in workflow
        assert "as JSON" not in workflow
        assert (await looking.http.get(f"{path}/workflow/history")).status_code == 403
        await console.send("/stuck/act", action="resolve", reason=REASON, item=transfer["id"])
        assert await until_closed(tenant, transfer["id"]) == "TERMINATED"
        workflow = await console.page(f"{path}/workflow")
        assert REASON in workflow
        [raw] = re.findall(r'href="/console(/[^"]+/workflow/history\?run=[^"]+)"', workflow)
        response = await console.http.get(raw)
        assert "attachment" in response.headers["content-disposition"]
        types = [event["eventType"] for event in json.loads(response.text)["events"]]
        assert types[0].endswith("WORKFLOW_EXECUTION_STARTED")
        assert types[-1].endswith("WORKFLOW_EXECUTION_TERMINATED")


async def test_what_only_temporal_knows_has_a_page_with_what_can_be_done(
    worker: WorkerFactory, services: Services, make_tenant: TenantMaker
) -> None:
    wallets = await make_wallets(services)
    queue = f"test-{secrets.token_hex(6)}"
    alone = worker.without_worker(queue)
    submission = await alone.intake.submit(wallets.tenant_id, wallets.request(), wait_seconds=0)
    path = f"/transfers/{submission.transfer.id}"
    async with console_of(await make_tenant()) as console:
        response = await console.send(
            f"/tenant?return_to=/console{path}", tenant=str(wallets.tenant_id)
        )
        assert response.headers["location"] == f"/console{path}"

        async def is_there() -> bool:
            return (await console.http.get(path)).status_code == 200

        await until(is_there)
        page = await console.page(path)
        assert "Temporal has accepted this transfer" in page
        assert f'hx-get="/console{path}/judgement"' in page
        assert "/evidence" not in page
        judgement = await console.page(f"{path}/judgement", headers=PART)
        assert 'value="cancel"' in judgement
        response = await console.send(
            "/stuck/act", action="cancel", reason=REASON, item=str(submission.transfer.id)
        )
        assert response.headers["location"] == f"/console{path}"
        assert "is asked to give it up" in await console.page(path)
    await worker(task_queue=queue)

    async def is_cancelled() -> bool:
        transfer = await wallets.transfer()
        return transfer is not None and transfer.failure is not None

    await until(is_cancelled)


async def test_things_of_other_tenants_are_opened_by_looking_at_their_tenant(
    tenant: Client, make_tenant: TenantMaker, accounts: tuple[Json, Json]
) -> None:
    account = accounts[0]["id"]
    await tenant.change_status(account, "freeze")
    records = f"/audit-log?subject={account}&all=1"
    async with console_of(await make_tenant()) as console:
        page = await console.page(records)
        assert f'href="/console/accounts/{account}"' not in page
        [target] = set(re.findall(r'formaction="/console(/tenant\?return_to=[^"]+)"', page))
        response = await console.send(target, tenant=str(tenant.tenant_id))
        assert response.headers["location"] == f"/console/accounts/{account}"
        await console.page(f"/accounts/{account}")
        assert f'href="/console/accounts/{account}"' in await console.page(records)
        response = await console.send(
            "/tenant?return_to=//evil.example", tenant=str(tenant.tenant_id)
        )
        assert response.headers["location"] == "/console"
