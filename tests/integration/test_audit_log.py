"""Who changed what, as the API tells it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.access import OPERATOR_SCOPES, Scope
from domain.accounts import AccountReference
from domain.audit import Actor, ActorKind
from domain.errors import AccountNotEmpty
from runtime.composition import Services
from tests.support.api import Client, Json, problem_of
from tests.support.tenants import TenantMaker


async def changes(client: Client, **wanted: Any) -> list[Json]:
    """Read the records of a client's tenant, but for those of its keys, oldest first."""
    found = (await client.get("/audit-log", tenant_id=client.tenant_id, **wanted))["data"]
    return [record for record in reversed(found) if record["subject_type"] != "api_key"]


async def test_a_change_tells_by_whom_from_where_and_why(tenant: Client) -> None:
    account = await tenant.account()
    path = f"/accounts/{account['id']}/freeze"
    frozen = await tenant.call("POST", path, json={"reason": "lost card"})
    record = (await changes(tenant))[-1]
    assert record["actor"] == {
        "kind": "api_key",
        "id": str(tenant.record.id),
        "name": "test",
        "source_address": "127.0.0.1",
    }
    assert (record["action"], record["subject_type"]) == ("account.freeze", "account")
    assert record["subject_id"] == account["id"]
    assert record["reason"] == "lost card"
    assert record["request_id"] == frozen.headers["x-request-id"]
    assert record["details"] == {"from": "ACTIVE", "to": "FROZEN"}
    assert record["tenant_id"] == str(tenant.tenant_id)


async def test_the_life_of_an_account_stands_in_the_log(tenant: Client) -> None:
    account = await tenant.account()
    path = f"/accounts/{account['id']}"
    await tenant.call("PATCH", path, json={"overdraft_limit": 10**30, "metadata": {"a": "b"}})
    for verb in ("freeze", "freeze", "unfreeze", "close", "close"):
        assert (await tenant.call("POST", f"{path}/{verb}")).status_code == 200
    found = await changes(tenant)
    assert [record["action"] for record in found] == [
        "user.create",
        "account.create",
        "account.change",
        "account.freeze",
        "account.unfreeze",
        "account.close",
    ]
    assert found[2]["details"] == {
        "overdraft_limit": {"from": 0, "to": 10**30},
        "metadata": "replaced",
    }


async def test_what_is_refused_is_no_change(tenant: Client, services: Services) -> None:
    account = await tenant.account(balance=1)
    before = await changes(tenant)
    response = await tenant.call("POST", f"/accounts/{account['id']}/close")
    problem_of(response, 409, AccountNotEmpty.code)
    assert await changes(tenant) == before
    reference = AccountReference.parse(account["id"])
    with pytest.raises(AccountNotEmpty):
        await services.accounts.close(
            tenant.tenant_id, reference, actor=Actor(ActorKind.CLI, None, "me")
        )
    assert await changes(tenant) == before


async def test_records_are_found_by_what_they_say(tenant: Client) -> None:
    first, second = await tenant.account(), await tenant.account()
    await tenant.call("POST", f"/accounts/{first['id']}/freeze")
    await tenant.call("POST", f"/accounts/{second['id']}/freeze")
    freeze = {"action": "account.freeze", "subject_id": first["id"]}
    (found,) = await changes(tenant, subject_type="account", **freeze)
    assert found["subject_id"] == first["id"]
    assert len(await changes(tenant, actor=tenant.record.id)) == 6
    assert await changes(tenant, actor=first["id"]) == []
    moment = datetime.fromisoformat(found["recorded_at"])
    later = (moment + timedelta(microseconds=1)).isoformat()
    assert await changes(tenant, **freeze, **{"from": moment.isoformat(), "to": later}) == [found]
    assert await changes(tenant, **freeze, **{"from": later}) == []
    assert await changes(tenant, **freeze, to=moment.isoformat()) == []
    assert moment <= datetime.now(UTC)


async def test_pages_hold_every_record_once(tenant: Client) -> None:
    for _ in range(3):
        await tenant.user()
    whole = (await tenant.get("/audit-log", tenant_id=tenant.tenant_id))["data"]
    pages = [page async for page in tenant.walk("/audit-log", limit=3, tenant_id=tenant.tenant_id)]
    assert [record for page in pages for record in page] == whole
    assert [record["id"] for record in whole] == sorted(
        (record["id"] for record in whole), reverse=True
    )
    for cursor in ("x", "-1", "9" * 19):
        problem_of(
            await tenant.call("GET", f"/audit-log?cursor={cursor}"), 422, "validation_failed"
        )


async def test_a_tenant_sees_its_own_alone_and_an_operator_sees_all(
    make_tenant: TenantMaker,
) -> None:
    scopes = set(Scope) - OPERATOR_SCOPES
    one, other = await make_tenant(scopes=scopes), await make_tenant(scopes=scopes)
    user = await one.user()
    await other.user()
    for asked in ({}, {"tenant_id": other.tenant_id}):
        seen = (await one.get("/audit-log", **asked))["data"]
        assert {record["tenant_id"] for record in seen} == {str(one.tenant_id)}
    operator = await make_tenant(scopes={Scope.AUDIT_READ, Scope.OPERATIONS_READ})
    (found,) = (await operator.get("/audit-log", subject_id=user["id"]))["data"]
    assert found["action"] == "user.create"
    assert {r["tenant_id"] for r in (await operator.get("/audit-log"))["data"]} > {
        str(one.tenant_id),
        str(other.tenant_id),
    }


async def test_the_log_takes_a_scope_of_its_own(make_tenant: TenantMaker) -> None:
    client = await make_tenant(scopes=set(Scope) - {Scope.AUDIT_READ})
    problem_of(await client.call("GET", "/audit-log"), 403, "scope_missing")


async def test_keys_that_are_made_and_revoked_stand_in_the_log(
    tenant: Client, services: Services
) -> None:
    actor = Actor(ActorKind.CLI, "ada", "ada@host")
    key, _ = await services.access.create_key(
        tenant_name=tenant.record.tenant_name,
        name="till",
        scopes=frozenset({Scope.USERS_READ}),
        actor=actor,
    )
    for _ in range(2):
        await services.access.revoke_key(str(key.id), actor=actor, reason="till was sold")
    revoked, made = (await tenant.get("/audit-log", subject_id=key.id))["data"]
    assert made["action"] == "api_key.create"
    assert made["details"] == {"name": "till", "scopes": ["users:read"]}
    assert made["actor"] == {
        "kind": "cli",
        "id": "ada",
        "name": "ada@host",
        "source_address": None,
    }
    assert (revoked["action"], revoked["reason"]) == ("api_key.revoke", "till was sold")
