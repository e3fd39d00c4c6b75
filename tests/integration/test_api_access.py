import uuid
from typing import Any

import pytest

from domain.access import CLIENT_SCOPES, OPERATOR_SCOPES, Scope
from runtime.composition import Services
from tests.support.api import Client, Json, new_key, problem_of
from tests.support.rows import rows_of_tenant
from tests.support.stack import Stack
from tests.support.tenants import TenantMaker

ID = str(uuid.uuid4())
ROUTES: list[tuple[str, str, Scope]] = [
    ("POST", "/users", Scope.USERS_WRITE),
    ("GET", "/users", Scope.USERS_READ),
    ("GET", f"/users/{ID}", Scope.USERS_READ),
    ("POST", "/accounts", Scope.ACCOUNTS_WRITE),
    ("GET", "/accounts", Scope.ACCOUNTS_READ),
    ("GET", f"/accounts/{ID}", Scope.ACCOUNTS_READ),
    ("PATCH", f"/accounts/{ID}", Scope.ACCOUNTS_WRITE),
    ("POST", f"/accounts/{ID}/freeze", Scope.ACCOUNTS_WRITE),
    ("POST", f"/accounts/{ID}/unfreeze", Scope.ACCOUNTS_WRITE),
    ("POST", f"/accounts/{ID}/close", Scope.ACCOUNTS_WRITE),
    ("GET", f"/accounts/{ID}/balance", Scope.ACCOUNTS_READ),
    ("GET", f"/accounts/{ID}/entries", Scope.ACCOUNTS_READ),
    ("GET", f"/accounts/{ID}/statement", Scope.ACCOUNTS_READ),
    ("POST", "/transfers", Scope.TRANSFERS_WRITE),
    ("GET", "/transfers", Scope.TRANSFERS_READ),
    ("GET", f"/transfers/{ID}", Scope.TRANSFERS_READ),
    ("GET", f"/transfers/{ID}/events", Scope.TRANSFERS_READ),
    ("GET", f"/transfers/{ID}/entries", Scope.TRANSFERS_READ),
    ("GET", f"/transfers/{ID}/workflow", Scope.TRANSFERS_READ),
    ("POST", f"/transfers/{ID}/capture", Scope.TRANSFERS_WRITE),
    ("POST", f"/transfers/{ID}/extend", Scope.TRANSFERS_WRITE),
    ("POST", f"/transfers/{ID}/cancel", Scope.TRANSFERS_WRITE),
    ("POST", f"/transfers/{ID}/reversals", Scope.TRANSFERS_WRITE),
    ("GET", f"/transfers/{ID}/reversals", Scope.TRANSFERS_READ),
    ("POST", f"/transfers/{ID}/approve", Scope.TRANSFERS_APPROVE),
    ("POST", f"/transfers/{ID}/reject", Scope.TRANSFERS_APPROVE),
    ("GET", f"/transfers/{ID}/approvals", Scope.TRANSFERS_READ),
    ("POST", "/approval-rules", Scope.RULES_WRITE),
    ("GET", "/approval-rules", Scope.TRANSFERS_READ),
    ("GET", f"/approval-rules/{ID}", Scope.TRANSFERS_READ),
    ("POST", f"/approval-rules/{ID}/retire", Scope.RULES_WRITE),
    ("GET", "/audit-log", Scope.AUDIT_READ),
    ("POST", "/api-keys", Scope.KEYS_WRITE),
    ("GET", "/api-keys", Scope.KEYS_WRITE),
    ("GET", f"/api-keys/{ID}", Scope.KEYS_WRITE),
    ("POST", f"/api-keys/{ID}/rotate", Scope.KEYS_WRITE),
    ("POST", f"/api-keys/{ID}/revoke", Scope.KEYS_WRITE),
    ("GET", f"/accounts/{ID}/limits", Scope.ACCOUNTS_READ),
    ("PUT", f"/accounts/{ID}/limits", Scope.RULES_WRITE),
    ("DELETE", f"/accounts/{ID}/limits", Scope.RULES_WRITE),
    ("POST", "/standing-orders", Scope.TRANSFERS_WRITE),
    ("GET", "/standing-orders", Scope.TRANSFERS_READ),
    ("GET", f"/standing-orders/{ID}", Scope.TRANSFERS_READ),
    ("GET", f"/standing-orders/{ID}/runs", Scope.TRANSFERS_READ),
    ("POST", f"/standing-orders/{ID}/pause", Scope.TRANSFERS_WRITE),
    ("POST", f"/standing-orders/{ID}/resume", Scope.TRANSFERS_WRITE),
    ("POST", f"/standing-orders/{ID}/cancel", Scope.TRANSFERS_WRITE),
]
WRONG_KEYS: list[dict[str, Any]] = [
    {},
    {"Authorization": ""},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer trf_wrong"},
    {"Authorization": "Basic dXNlcjpwYXNz"},
    {"Authorization": b"Bearer \xff\xfe"},
    {"Authorization": "Bearer " + "x" * 5_000},
]
BODIES: dict[str, Json] = {
    "/users": {"name": "Ada"},
    "/api-keys": {"name": "till"},
    "/accounts": {"user_id": ID, "currency": "EUR"},
    "/transfers": {"source": "ext:a", "destination": "ext:b", "amount": 1, "currency": "EUR"},
    f"/transfers/{ID}/extend": {"expires_at": "2030-01-01T00:00:00Z"},
    "/approval-rules": {"currency": "EUR", "threshold": 1},
    "/standing-orders": {
        "source": "ext:a",
        "destination": "ext:b",
        "amount": 1,
        "currency": "EUR",
        "schedule": {"interval_seconds": 60},
    },
}


def arguments_of(method: str, path: str) -> dict[str, Any]:
    """Give what the request needs to be right but for its key."""
    if method in {"GET", "DELETE"}:
        return {}
    return {"json": BODIES.get(path, {}), "headers": {"Idempotency-Key": new_key()}}


@pytest.mark.parametrize("wrong", WRONG_KEYS)
async def test_without_a_right_key_nothing_is_answered(
    tenant: Client, wrong: dict[str, Any]
) -> None:
    del tenant.http.headers["Authorization"]
    for method, path, _scope in ROUTES:
        arguments = arguments_of(method, path)
        headers = {**arguments.pop("headers", {}), **wrong}
        response = await tenant.call(method, path, headers=headers, **arguments)
        problem_of(response, 401, "unauthenticated")
        assert response.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("lacking", sorted(CLIENT_SCOPES))
async def test_each_route_asks_for_its_own_scope(
    make_tenant: TenantMaker, stack: Stack, lacking: Scope
) -> None:
    limited = await make_tenant(scopes=set(Scope) - {lacking})
    before = await rows_of_tenant(stack.database_url, limited.tenant_id)
    refused = [(method, path) for method, path, scope in ROUTES if scope is lacking]
    assert refused
    for method, path in refused:
        response = await limited.call(method, path, **arguments_of(method, path))
        problem_of(response, 403, "scope_missing")
    assert await rows_of_tenant(stack.database_url, limited.tenant_id) == before
    for method, path, scope in ROUTES:
        if method == "GET" and scope is not lacking:
            assert (await limited.call(method, path)).status_code in {200, 404}


async def test_the_operators_scopes_are_no_help_to_clients(make_tenant: TenantMaker) -> None:
    operator = await make_tenant(scopes=OPERATOR_SCOPES)
    for method, path, _scope in ROUTES:
        response = await operator.call(method, path, **arguments_of(method, path))
        problem_of(response, 403, "scope_missing")


async def test_a_revoked_key_is_refused_from_the_next_request_on(
    tenant: Client, make_tenant: TenantMaker, services: Services
) -> None:
    other_key = await make_tenant(tenant.record.tenant_name)
    user = await tenant.user()
    await services.access.revoke_key(str(tenant.record.id))
    problem_of(await tenant.call("GET", "/users"), 401, "unauthenticated")
    assert (await other_key.get("/users"))["data"] == [user]


async def test_what_belongs_to_another_tenant_is_not_found(
    tenant: Client, make_tenant: TenantMaker, stack: Stack
) -> None:
    account = await tenant.account(external_id="mine", balance=10)
    transfer = await tenant.withdraw(account["id"], 1)
    rule = await tenant.rule(1_000)
    other = await make_tenant()
    before = await rows_of_tenant(stack.database_url, tenant.tenant_id)
    problem_of(await other.call("GET", f"/users/{account['user_id']}"), 404, "user_not_found")
    for reference in (
        account["id"],
        account["account_number"],
        "ext:mine",
        transfer["destination"],
    ):
        for tail in ("", "/balance", "/entries", "/limits"):
            path = f"/accounts/{reference}{tail}"
            problem_of(await other.call("GET", path), 404, "account_not_found")
        for verb in ("freeze", "unfreeze", "close"):
            response = await other.call("POST", f"/accounts/{reference}/{verb}")
            problem_of(response, 404, "account_not_found")
        change = await other.call("PATCH", f"/accounts/{reference}", json={"metadata": {}})
        problem_of(change, 404, "account_not_found")
        for method, limits in (("PUT", {"json": {"per_day": 1}}), ("DELETE", {})):
            response = await other.call(method, f"/accounts/{reference}/limits", **limits)
            problem_of(response, 404, "account_not_found")
    for path in (f"/approval-rules/{rule['id']}", f"/approval-rules/{rule['id']}/retire"):
        response = await other.call("POST" if "retire" in path else "GET", path)
        problem_of(response, 404, "approval_rule_not_found")
    for tail in ("", "/events", "/entries", "/workflow"):
        path = f"/transfers/{transfer['id']}{tail}"
        problem_of(await other.call("GET", path), 404, "transfer_not_found")
    assert await rows_of_tenant(stack.database_url, tenant.tenant_id) == before


async def test_lists_hold_the_tenants_own_alone(tenant: Client, make_tenant: TenantMaker) -> None:
    account = await tenant.account(external_id="mine", balance=10)
    await tenant.rule(1_000)
    other = await make_tenant()
    for path in ("/users", "/accounts", "/transfers", "/approval-rules"):
        assert (await tenant.get(path))["data"] != []
        assert (await other.get(path))["data"] == []
    assert (await other.get("/accounts", external_id="mine"))["data"] == []
    assert (await other.get("/accounts", user_id=account["user_id"]))["data"] == []


async def test_an_account_cannot_be_opened_for_another_tenants_user(
    tenant: Client, make_tenant: TenantMaker
) -> None:
    user = await tenant.user()
    body = {"user_id": user["id"], "currency": "EUR"}
    other = await make_tenant()
    problem_of(await other.call("POST", "/accounts", json=body), 404, "user_not_found")
