"""What a key sees and may do in the console: its scopes, and its tenant."""

import re

from domain.access import DEFAULT_SCOPES, Scope
from tests.support.api import Client
from tests.support.approvals import Desk
from tests.support.console import console_of
from tests.support.tenants import TenantMaker

READER = (Scope.TRANSFERS_READ, Scope.ACCOUNTS_READ)


async def test_a_reader_sees_no_button_and_is_refused_what_it_would_do(
    tenant: Client, make_tenant: TenantMaker
) -> None:
    account = await tenant.account()
    reader = await make_tenant(tenant.record.tenant_name, scopes=READER)
    async with console_of(reader) as console:
        page = await console.page(f"/accounts/{account['id']}")
        assert "/freeze" not in page
        response = await console.send(f"/accounts/{account['id']}/freeze", reason="none of mine")
        assert response.status_code == 403
        assert "accounts:write" in response.text
    assert (await tenant.get(f"/accounts/{account['id']}"))["status"] == "ACTIVE"


async def test_the_navigation_has_what_the_key_may_see(
    tenant: Client, make_tenant: TenantMaker
) -> None:
    only_accounts = await make_tenant(tenant.record.tenant_name, scopes=[Scope.ACCOUNTS_READ])
    async with console_of(only_accounts) as console:
        response = await console.http.get("")
        assert response.headers["location"] == "/console/accounts"
        page = await console.page("/accounts")
        assert 'href="/console/transfers"' not in page
        assert (await console.http.get("/transfers")).status_code == 403


async def test_a_key_without_any_reading_scope_is_told_so(make_tenant: TenantMaker) -> None:
    writer = await make_tenant(scopes=[Scope.TRANSFERS_WRITE])
    async with console_of(writer) as console:
        assert "may see nothing here" in await console.page("")


async def test_a_clients_key_sees_its_own_tenant_alone(
    tenant: Client, make_tenant: TenantMaker
) -> None:
    account = await tenant.account(balance=100)
    [transfer] = (await tenant.get("/transfers"))["data"]
    stranger = await make_tenant(scopes=DEFAULT_SCOPES)
    async with console_of(stranger) as console:
        await console.page(f"/transfers/{transfer['id']}", status=404)
        await console.page(f"/accounts/{account['id']}", status=404)
        await console.page(f"/accounts/{account['id']}/statement", status=404)
        response = await console.send("/tenant", tenant=str(tenant.tenant_id))
        assert response.status_code == 404
        assert tenant.record.tenant_name not in await console.page("/tenants")


async def test_an_operator_reads_other_tenants_and_decides_nothing_there(
    tenant: Client, make_tenant: TenantMaker
) -> None:
    desk = await Desk.open(tenant, make_tenant)
    await tenant.rule(500)
    waiting = await desk.waiting()
    operator = await make_tenant()
    async with console_of(operator) as console:
        await console.page(f"/transfers/{waiting['id']}", status=404)
        response = await console.send("/tenant", tenant=str(tenant.tenant_id))
        assert response.status_code == 303
        page = await console.page(f"/transfers/{waiting['id']}")
        assert f"You look at <strong>{tenant.record.tenant_name}</strong>" in page
        inbox = await console.page("/approvals")
        assert waiting["id"] in inbox
        assert 'value="approve"' not in inbox
        response = await console.send(f"/approvals/{waiting['id']}", decision="approve", key="k1")
        assert response.status_code == 403
        response = await console.send(
            f"/accounts/{desk.source['id']}/freeze", reason="none of mine"
        )
        assert response.status_code == 403
    assert (await desk.reached(waiting, "AWAITING_APPROVAL"))["state"] == "PROCESSING"


async def test_whoever_asked_for_a_transfer_is_not_offered_to_approve_it(
    tenant: Client, make_tenant: TenantMaker
) -> None:
    desk = await Desk.open(tenant, make_tenant)
    await tenant.rule(500)
    waiting = await desk.waiting()
    async with console_of(tenant) as console:
        page = await console.page("/approvals")
        assert "This key asked for it" in page
        response = await console.send(
            f"/approvals/{waiting['id']}", page="/approvals", decision="approve", key="k1"
        )
        assert response.status_code == 303
        assert "with another API key than the one that made it" in await console.page("/approvals")
    assert (await desk.reached(waiting, "AWAITING_APPROVAL"))["state"] == "PROCESSING"


async def test_a_decision_that_is_sent_twice_is_one(
    tenant: Client, make_tenant: TenantMaker
) -> None:
    desk = await Desk.open(tenant, make_tenant)
    await tenant.rule(500, approvers=2)
    waiting = await desk.waiting()
    async with console_of(desk.approvers[0]) as console:
        page = await console.page("/approvals")
        [key] = re.findall(r'name="key" value="([^"]+)"', page)
        for _ in range(2):
            response = await console.send(
                f"/approvals/{waiting['id']}", page="/approvals", decision="approve", key=key
            )
            assert response.status_code == 303
    steps = [step for step, _ in await desk.steps(waiting)]
    assert steps.count("approve") == 1
