"""Keys that look after themselves: made, rotated, limited and revoked through the API."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from domain.access import CLIENT_SCOPES, RateLimit, Scope
from domain.errors import Unauthenticated
from persistence.database import Database
from runtime.composition import Services, make_services
from services.authentication import AuthenticationService
from tests.support.api import Client, Json, problem_of
from tests.support.postgres import PostgresServer
from tests.support.served import served_api
from tests.support.stack import Stack
from tests.support.tenants import TenantMaker

READER = [Scope.USERS_READ]
CARELESS = sql.SQL(
    "CREATE OR REPLACE FUNCTION {} (hash bytea) RETURNS SETOF api_keys LANGUAGE sql STABLE"
    " SECURITY DEFINER AS 'SELECT * FROM api_keys'"
)
"""A look-up that finds a key whatever was sent."""


async def made(client: Client, **body: Any) -> Json:
    """Make a key and give it with its secret."""
    response = await client.call("POST", "/api-keys", json={"name": "till", **body})
    assert response.status_code == 201, response.text
    key: Json = response.json()
    return key


async def rotated(client: Client, key: Json, **body: Any) -> Json:
    response = await client.call("POST", f"/api-keys/{key['id']}/rotate", json=body)
    assert response.status_code == 200, response.text
    changed: Json = response.json()
    return changed


async def status_with(client: Client, secret: str) -> int:
    """Tell what a request with another secret is answered."""
    headers = {"Authorization": f"Bearer {secret}"}
    return (await client.call("GET", "/users", headers=headers)).status_code


async def test_a_key_is_made_and_its_secret_shown_once(tenant: Client) -> None:
    key = await made(tenant, scopes=READER)
    assert key["scopes"] == ["users:read"]
    assert key["key"].startswith(key["prefix"])
    assert await status_with(tenant, key["key"]) == 200
    found = await tenant.get(f"/api-keys/{key['id']}")
    assert found == {name: value for name, value in key.items() if name != "key"}
    listed = (await tenant.get("/api-keys"))["data"]
    assert [each["id"] for each in listed] == [key["id"], str(tenant.record.id)]
    assert key["key"] not in str(listed)


async def test_a_key_gives_nothing_that_it_lacks(make_tenant: TenantMaker) -> None:
    maker = await make_tenant(scopes={Scope.KEYS_WRITE, Scope.USERS_READ})
    for scopes in ([Scope.OPERATIONS_READ], [Scope.USERS_READ, Scope.USERS_WRITE], None):
        body = {"name": "more"} | ({"scopes": scopes} if scopes else {})
        response = await maker.call("POST", "/api-keys", json=body)
        problem_of(response, 403, "scope_not_held")
    faster = {"requests_per_second": 100_000, "requests_burst": 1}
    response = await maker.call(
        "POST", "/api-keys", json={"name": "faster", "scopes": READER, **faster}
    )
    problem_of(response, 403, "rate_not_held")
    assert len((await maker.get("/api-keys"))["data"]) == 1


async def test_a_key_that_is_found_by_another_secrets_hash_is_refused(
    postgres: PostgresServer,
) -> None:
    async with postgres.database() as url:
        database = Database.at(postgres.as_service(url))
        authentication = AuthenticationService(database)
        key, secret = await make_services(database).access.create_key(
            tenant_name="a", name="till", scopes=frozenset(READER)
        )
        async with await psycopg.AsyncConnection.connect(url) as owner:
            for look_up in ("api_key_of", "api_key_in_overlap_of"):
                await owner.execute(CARELESS.format(sql.Identifier(look_up)))
        assert (await authentication.authenticate(secret)).api_key_id == key.id
        with pytest.raises(Unauthenticated):
            await authentication.authenticate(secret[:-1])
        await database.close()


async def test_a_key_does_not_take_over_one_that_can_do_more(make_tenant: TenantMaker) -> None:
    strong = await make_tenant()
    weak = await make_tenant(strong.record.tenant_name, scopes={Scope.KEYS_WRITE})
    path = f"/api-keys/{strong.record.id}"
    problem_of(await weak.call("POST", f"{path}/rotate"), 403, "scope_not_held")
    assert (await strong.call("GET", "/users")).status_code == 200
    assert (await weak.call("POST", f"{path}/revoke")).status_code == 200
    problem_of(await strong.call("GET", "/users"), 401, "unauthenticated")


async def test_keys_of_another_tenant_are_not_found(make_tenant: TenantMaker) -> None:
    mine, other = await make_tenant(), await make_tenant()
    path = f"/api-keys/{other.record.id}"
    for method, tail in (("GET", ""), ("POST", "/rotate"), ("POST", "/revoke")):
        problem_of(await mine.call(method, path + tail), 404, "api_key_not_found")
    assert (await other.call("GET", "/users")).status_code == 200


async def test_both_secrets_are_good_during_an_overlap(tenant: Client, stack: Stack) -> None:
    first = await made(tenant, scopes=READER)
    second = await rotated(tenant, first, overlap_seconds=3_600)
    assert (second["id"], second["scopes"]) == (first["id"], first["scopes"])
    assert await status_with(tenant, first["key"]) == 200
    assert await status_with(tenant, second["key"]) == 200
    third = await rotated(tenant, first)
    statuses = [await status_with(tenant, key["key"]) for key in (first, second, third)]
    assert statuses == [401, 200, 200]
    await end_overlap(stack, third)
    assert await status_with(tenant, second["key"]) == 401
    assert await status_with(tenant, third["key"]) == 200


async def end_overlap(stack: Stack, key: Json) -> None:
    """Let the time of a key's secret before have come."""
    statement = "UPDATE api_keys SET previous_expires_at = now() WHERE id = %s"
    async with await psycopg.AsyncConnection.connect(stack.database_url) as connection:
        await connection.execute(statement, (key["id"],))


async def test_without_overlap_the_present_secret_ends_at_once(tenant: Client) -> None:
    first = await made(tenant, scopes=READER)
    second = await rotated(tenant, first, overlap_seconds=0)
    assert await status_with(tenant, first["key"]) == 401
    assert await status_with(tenant, second["key"]) == 200


async def test_a_rotated_key_still_cannot_approve_what_it_made(
    tenant: Client, make_tenant: TenantMaker
) -> None:
    account = await tenant.account(balance=1_000)
    other = await tenant.account()
    await tenant.rule(100)
    body = {"source": account["id"], "destination": other["id"], "amount": 200, "currency": "EUR"}
    waiting = (await tenant.post_transfer(key=f"wait-{account['id']}", **body)).json()
    again = await rotated(tenant, {"id": str(tenant.record.id)})
    tenant.http.headers["Authorization"] = f"Bearer {again['key']}"
    problem_of(await tenant.operate(waiting, "approve"), 403, "maker_cannot_approve")
    checker = await make_tenant(tenant.record.tenant_name)
    assert (await checker.operate(waiting, "approve")).status_code == 200


async def test_a_key_is_refused_from_its_end_on(tenant: Client, stack: Stack) -> None:
    in_an_hour = datetime.now(UTC) + timedelta(hours=1)
    key = await made(tenant, scopes=READER, expires_at=in_an_hour.isoformat())
    assert datetime.fromisoformat(key["expires_at"]) == in_an_hour
    assert await status_with(tenant, key["key"]) == 200
    async with await psycopg.AsyncConnection.connect(stack.database_url) as connection:
        await connection.execute(
            "UPDATE api_keys SET expires_at = now() WHERE id = %s", (key["id"],)
        )
    assert await status_with(tenant, key["key"]) == 401
    response = await tenant.call("POST", f"/api-keys/{key['id']}/rotate")
    problem_of(response, 409, "api_key_over")


@pytest.mark.parametrize(
    "body",
    [
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"scopes": []},
        {"scopes": ["everything"]},
        {"name": ""},
        {"requests_per_second": 1},
        {"requests_per_second": 0, "requests_burst": 1},
    ],
    ids=str,
)
async def test_a_key_that_cannot_be_is_not_made(tenant: Client, body: Json) -> None:
    response = await tenant.call("POST", "/api-keys", json={"name": "x", "scopes": READER} | body)
    problem_of(response, 422, "validation_failed")


async def test_a_revoked_key_is_not_rotated(tenant: Client) -> None:
    key = await made(tenant, scopes=READER)
    for _ in range(2):
        revoked = await tenant.call("POST", f"/api-keys/{key['id']}/revoke")
        assert revoked.json()["revoked_at"] is not None
    response = await tenant.call("POST", f"/api-keys/{key['id']}/rotate")
    problem_of(response, 409, "api_key_over")


async def test_what_happens_to_a_key_stands_in_the_audit_log(tenant: Client) -> None:
    key = await made(tenant, scopes=READER, reason="new till")
    await rotated(tenant, key, overlap_seconds=60, reason="every quarter")
    await tenant.call("POST", f"/api-keys/{key['id']}/revoke", json={"reason": "sold"})
    found = (await tenant.get("/audit-log", subject_id=key["id"]))["data"][::-1]
    assert [(record["action"], record["reason"]) for record in found] == [
        ("api_key.create", "new till"),
        ("api_key.rotate", "every quarter"),
        ("api_key.revoke", "sold"),
    ]
    assert {record["actor"]["id"] for record in found} == {str(tenant.record.id)}
    assert found[1]["details"] == {"overlap_seconds": 60}
    assert key["key"] not in str(found)


async def test_a_revocation_and_a_rotation_hold_in_all_processes_at_once(
    stack: Stack, services: Services
) -> None:
    async with (
        served_api(stack, services.access, "--workers", "2") as served,
        served.client() as client,
    ):
        key = await made(client, scopes=READER)
        await statuses(client, key["key"], {200})
        await rotated(client, key, overlap_seconds=0)
        await statuses(client, key["key"], {401})
        await services.access.revoke_key(str(client.record.id))
        await statuses(client, client.api_key, {401})


async def statuses(client: Client, secret: str, wanted: set[int]) -> None:
    """Require one answer of all processes: each of many connections may reach another one."""
    found = set()
    for _ in range(12):
        async with Client(client.api_url, secret, client.record) as fresh:
            found.add((await fresh.call("GET", "/users")).status_code)
    assert found == wanted


async def test_a_key_has_a_rate_limit_across_all_processes(
    stack: Stack, services: Services
) -> None:
    rate = RateLimit(per_second=1, burst=8)
    async with (
        served_api(stack, services.access, "--workers", "2") as served,
        served.client() as client,
    ):
        record, secret = await services.access.create_key(
            tenant_name=client.record.tenant_name, name="slow", scopes=CLIENT_SCOPES, rate=rate
        )
        answers = []
        for _ in range(40):
            async with Client(client.api_url, secret, record) as fresh:
                answers.append(await fresh.call("GET", "/users"))
        refused = [answer for answer in answers if answer.status_code == 429]
        allowed = [answer for answer in answers if answer.status_code == 200]
        # A few more than the burst where time went by, and never twice as many.
        assert len(allowed) + len(refused) == 40
        assert rate.burst <= len(allowed) < 2 * rate.burst
        assert (await client.call("GET", "/users")).status_code == 200
    problem_of(refused[0], 429, "rate_limited")
    assert int(refused[0].headers["retry-after"]) >= 1
    assert refused[0].headers["ratelimit-policy"] == '"key";q=8;w=8'
    assert refused[0].headers["ratelimit"].startswith('"key";r=0;t=')
    assert allowed[0].headers["ratelimit"] == '"key";r=7;t=0'


async def test_a_keys_limit_changes_for_the_next_request(
    tenant: Client, services: Services
) -> None:
    await services.access.limit_key(str(tenant.record.id), RateLimit(1, 1), reason="gone wild")
    answers = [await tenant.call("GET", "/users") for _ in range(3)]
    assert 429 in {answer.status_code for answer in answers}
    await services.access.limit_key(str(tenant.record.id), None)
    assert (await tenant.call("GET", "/users")).status_code == 200
    found = (await tenant.get("/audit-log", action="api_key.limit"))["data"]
    mine = [record for record in found if record["subject_id"] == str(tenant.record.id)]
    assert [record["reason"] for record in mine] == [None, "gone wild"]
