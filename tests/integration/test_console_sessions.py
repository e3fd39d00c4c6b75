"""Logins of the console: who gets in, how long it lasts, and what forms must carry."""

from collections.abc import AsyncIterator
from uuid import UUID

import psycopg
import pytest

from domain.limits import CONSOLE_SESSION_IDLE_SECONDS, CONSOLE_SESSION_SECONDS_MAXIMUM
from runtime.composition import Services
from runtime.ports import LOOPBACK
from tests.support.api import Client
from tests.support.console import ConsoleClient, console_of
from tests.support.payloads import new_payload_key
from tests.support.served import served_api
from tests.support.stack import Stack
from tests.support.tenants import TenantMaker

LIVE = {"X-Console-Live": "1"}


@pytest.fixture
async def console(tenant: Client) -> AsyncIterator[ConsoleClient]:
    async with console_of(tenant) as console:
        yield console


async def age_session(stack: Stack, tenant: Client, column: str, seconds: int) -> None:
    """Let a session of a key be older than it is."""
    async with await psycopg.AsyncConnection.connect(stack.database_url) as connection:
        await connection.execute(
            f"UPDATE console_sessions SET {column} = {column} - make_interval(secs => %s)"  # noqa: S608
            " WHERE api_key_id = %s",
            (seconds, tenant.record.id),
        )


async def test_a_page_without_a_session_leads_to_the_login_and_back(tenant: Client) -> None:
    async with ConsoleClient(tenant.api_url) as console:
        response = await console.http.get("/transfers?state=FAILED")
        assert response.status_code == 303
        login = response.headers["location"]
        assert login == "/console/login?next=%2Fconsole%2Ftransfers%3Fstate%3DFAILED"
        response = await console.log_in(tenant.api_key, next="/console/transfers?state=FAILED")
        assert response.headers["location"] == "/console/transfers?state=FAILED"
        assert "Transfers" in await console.page("/transfers?state=FAILED")


async def test_a_wrong_key_is_refused_and_told_so(tenant: Client) -> None:
    async with ConsoleClient(tenant.api_url) as console:
        response = await console.log_in("trf_wrong")
        assert response.status_code == 401
        assert "This API key is not valid" in response.text
        assert (await console.http.get("/overview")).status_code == 303


async def test_a_login_that_another_site_sends_is_refused(tenant: Client) -> None:
    async with ConsoleClient(tenant.api_url) as console:
        form = {"csrf_token": "0" * 64, "api_key": tenant.api_key}
        assert (await console.http.post("/login", data=form)).status_code == 403
        await console.http.get("/login")
        assert (await console.http.post("/login", data=form)).status_code == 403
        assert (await console.http.get("/overview")).status_code == 303


@pytest.mark.parametrize("wanted", ["https://evil.example/", "//evil.example", "/v1/transfers"])
async def test_a_login_leads_nowhere_but_into_the_console(tenant: Client, wanted: str) -> None:
    async with ConsoleClient(tenant.api_url) as console:
        response = await console.log_in(tenant.api_key, next=wanted)
        assert response.headers["location"] == "/console"


async def test_the_sessions_cookie_is_kept_from_scripts_and_other_sites(tenant: Client) -> None:
    async with ConsoleClient(tenant.api_url) as console:
        response = await console.log_in(tenant.api_key)
        [cookie] = [
            text
            for text in response.headers.get_list("set-cookie")
            if text.startswith("console_session=")
        ]
        attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
        assert {"httponly", "samesite=strict", "path=/"} <= attributes
        assert "secure" not in attributes


async def test_over_https_the_cookie_is_bound_to_it(stack: Stack, services: Services) -> None:
    async with (
        served_api(stack, services.access, API_TRUSTED_PROXIES=LOOPBACK) as served,
        ConsoleClient(served.url) as console,
    ):
        # As a proxy on this machine says it.
        console.http.headers["X-Forwarded-Proto"] = "https"
        response = await console.http.get("/login")
        [cookie] = response.headers.get_list("set-cookie")
        assert cookie.startswith("__Host-console_login=")
        assert "secure" in cookie.lower()
        assert response.headers["strict-transport-security"] == "max-age=31536000"


async def test_an_address_whose_logins_fail_too_often_is_kept_waiting_at_every_door(
    stack: Stack, services: Services
) -> None:
    environment = {
        "API_FAILED_LOGINS_PER_MINUTE": "3",
        "PAYLOAD_KEYS": new_payload_key("k1"),
        # The run's other workers have no such key.
        "RUN_WORKER_IN_API": "false",
    }
    async with (
        served_api(stack, services.access, **environment) as served,
        ConsoleClient(served.url) as console,
    ):

        async def statuses(wrong: str) -> list[int]:
            codec = await console.http.post(f"{served.url}/codec/login", data={"key": wrong})
            answer = await console.log_in(wrong)
            assert "<form" in answer.text
            key = {"Authorization": f"Bearer {wrong}"}
            api = await console.http.get(f"{served.url}/v1/users", headers=key)
            return [codec.status_code, answer.status_code, api.status_code]

        assert await statuses("trf_wrong1") == [401, 401, 401]
        assert await statuses("trf_wrong2") == [429, 429, 429]


async def test_only_a_hash_of_the_sessions_token_is_stored(
    stack: Stack, tenant: Client, console: ConsoleClient
) -> None:
    token = console.http.cookies["console_session"]
    async with await psycopg.AsyncConnection.connect(stack.database_url) as connection:
        rows = await connection.execute(
            "SELECT encode(token_hash, 'escape') FROM console_sessions WHERE api_key_id = %s",
            (tenant.record.id,),
        )
        stored = [text for (text,) in await rows.fetchall()]
    assert len(stored) == 1
    assert token not in stored[0]


@pytest.mark.parametrize(
    ("column", "seconds"),
    [
        ("last_used_at", CONSOLE_SESSION_IDLE_SECONDS),
        ("created_at", CONSOLE_SESSION_SECONDS_MAXIMUM),
    ],
)
async def test_a_session_ends_when_it_is_idle_and_after_its_time(
    stack: Stack, tenant: Client, console: ConsoleClient, column: str, seconds: int
) -> None:
    await age_session(stack, tenant, column, seconds - 30)
    await console.page("/overview")
    await age_session(stack, tenant, "last_used_at", seconds if column == "last_used_at" else 0)
    await age_session(stack, tenant, "created_at", 30 if column == "created_at" else 0)
    response = await console.http.get("/overview")
    assert response.status_code == 303
    assert response.headers["location"].endswith("&ended=1")


async def test_a_page_that_updates_itself_does_not_keep_a_session_alive(
    stack: Stack, tenant: Client, console: ConsoleClient
) -> None:
    await age_session(stack, tenant, "last_used_at", CONSOLE_SESSION_IDLE_SECONDS - 60)
    await console.page("/overview", headers=LIVE)
    await age_session(stack, tenant, "last_used_at", 60)
    response = await console.http.get("/overview", headers=LIVE)
    assert response.status_code == 401
    assert response.headers["hx-redirect"].startswith("/console/login?next=%2Fconsole%2Foverview")


async def test_looking_at_a_page_keeps_a_session_alive(
    stack: Stack, tenant: Client, console: ConsoleClient
) -> None:
    await age_session(stack, tenant, "last_used_at", CONSOLE_SESSION_IDLE_SECONDS - 60)
    await console.page("/overview")
    await age_session(stack, tenant, "last_used_at", 120)
    await console.page("/overview")


async def test_a_session_ends_at_once_with_its_key(
    services: Services, tenant: Client, console: ConsoleClient
) -> None:
    await console.page("/overview")
    await services.access.revoke_key(str(tenant.record.id))
    assert (await console.http.get("/overview")).status_code == 303


async def test_a_logout_ends_the_session_and_not_only_the_cookie(
    tenant: Client, console: ConsoleClient
) -> None:
    token = console.http.cookies["console_session"]
    response = await console.send("/logout")
    assert response.headers["location"] == "/console/login"
    async with ConsoleClient(tenant.api_url) as other:
        other.http.cookies.set("console_session", token)
        assert (await other.http.get("/overview")).status_code == 303


async def test_logins_looks_at_other_tenants_and_logouts_stand_in_the_log(
    tenant: Client, make_tenant: TenantMaker
) -> None:
    other = await make_tenant()
    async with console_of(tenant) as console:
        await console.send("/tenant", tenant=str(other.tenant_id))
        await console.send("/tenant", tenant=str(UUID(int=0)))
        await console.send("/logout")
    key = str(tenant.record.id)
    found = (await tenant.get("/audit-log", subject_id=key, actor=key))["data"][::-1]
    assert [(record["action"], record["tenant_id"]) for record in found] == [
        ("console_session.begin", str(tenant.tenant_id)),
        ("console_session.view", str(other.tenant_id)),
        ("console_session.end", str(tenant.tenant_id)),
    ]
    for record in found:
        assert record["subject_type"] == "api_key"
        assert record["actor"]["source_address"] == "127.0.0.1"
        assert record["request_id"]


@pytest.mark.parametrize("token", ["", "0" * 64, "\N{SNOWMAN}"])
async def test_a_form_without_the_sessions_token_changes_nothing(
    tenant: Client, console: ConsoleClient, token: str
) -> None:
    account = await tenant.account()
    form = {"csrf_token": token, "reason": "asked for by phone"}
    response = await console.http.post(f"/accounts/{account['id']}/freeze", data=form)
    assert response.status_code == 403
    assert "does not belong to your session" in response.text
    assert (await tenant.get(f"/accounts/{account['id']}"))["status"] == "ACTIVE"


async def test_the_token_of_another_session_is_worth_nothing(
    tenant: Client, console: ConsoleClient
) -> None:
    account = await tenant.account()
    async with console_of(tenant) as other:
        page = await other.page("/overview")
    token = page.split('name="csrf_token" value="')[1][:64]
    form = {"csrf_token": token, "reason": "asked for by phone"}
    response = await console.http.post(f"/accounts/{account['id']}/freeze", data=form)
    assert response.status_code == 403


async def test_pages_run_nothing_but_the_consoles_own_files(console: ConsoleClient) -> None:
    response = await console.http.get("/overview")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert response.headers["cache-control"] == "no-store"
    assert " style=" not in response.text
    assert "://" not in response.text.replace("http://www.w3.org/2000/svg", "")
