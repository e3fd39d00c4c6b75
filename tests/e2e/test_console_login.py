"""Logging in to the console at an issuer, in a real browser."""

from collections.abc import AsyncIterator, Iterator
from urllib.parse import parse_qsl, urlsplit

import pytest
from playwright.async_api import Browser, expect

from domain.access import Scope
from runtime.composition import Services
from tests.support.api import Client
from tests.support.browser import grave_violations, window
from tests.support.console import ConsoleClient
from tests.support.issuer import AUDIENCE, Issuer, rsa_key, running_issuer
from tests.support.served import ServedApi, served_api
from tests.support.stack import Stack

RETURN = "/login/issuer/return"


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    # Another site to the browser than the console, as issuers are.
    with running_issuer("localhost") as issuer:
        issuer.keys["first"] = rsa_key()
        yield issuer


@pytest.fixture
async def api(stack: Stack, services: Services, issuer: Issuer) -> AsyncIterator[ServedApi]:
    environment = {
        "OIDC_ISSUER": issuer.url,
        "OIDC_AUDIENCE": AUDIENCE,
        "OIDC_CLIENT_ID": "console",
        # The stand-in has no certificate.
        "OAUTHLIB_INSECURE_TRANSPORT": "1",
    }
    async with served_api(stack, services.access, **environment) as api:
        yield api


async def test_somebody_logs_in_at_the_issuer_and_comes_to_the_page_they_wanted(
    browser: Browser, api: ServedApi, issuer: Issuer
) -> None:
    async with api.client() as tenant, window(browser) as page:
        await tenant.user(name="Grace")
        issuer.claims = {"tenant": tenant.record.tenant_name, "scope": Scope.ACCOUNTS_READ.value}
        await page.goto(f"{api.url}/console/accounts?status=FROZEN")
        assert await grave_violations(page) == []
        await page.get_by_role("link", name="Log in with single sign-on").click()
        await page.get_by_role("link", name="Go on as Ada").click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("Accounts")
        assert page.url == f"{api.url}/console/accounts?status=FROZEN"
        await expect(page.get_by_role("link", name="Transfers", exact=True)).to_have_count(0)
        await page.reload()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("Accounts")
        cookies = {cookie["name"]: cookie for cookie in await page.context.cookies()}
        assert "console_issuer_login" not in cookies
        assert cookies["console_session"]["sameSite"] == "Strict"
        assert cookies["console_session"]["httpOnly"]


async def test_an_answer_that_is_not_of_this_login_lets_nobody_in(
    api: ServedApi, issuer: Issuer
) -> None:
    async with ConsoleClient(api.url) as console, ConsoleClient(api.url) as other:
        assert "too old" in await console.page(f"{RETURN}?code=a&state=b")
        asked = await begin(console)
        code = issuer.code_for(asked)
        refused = await console.page(f"{RETURN}?code={code}&state=forged", status=401)
        assert "belongs to another login" in refused
        # The login is used up with the first answer, right or wrong.
        again = await console.page(f"{RETURN}?code={code}&state={asked['state']}")
        assert "too old" in again
        mine = await begin(other)
        stolen = await other.page(f"{RETURN}?code={code}&state={mine['state']}", status=401)
        assert "has not taken" in stolen


async def test_who_refuses_at_the_issuer_or_names_no_tenant_is_told_so(
    api: ServedApi, issuer: Issuer
) -> None:
    async with ConsoleClient(api.url) as console:
        asked = await begin(console)
        refused = await console.page(
            f"{RETURN}?error=access_denied&state={asked['state']}", status=401
        )
        assert "has not let you in" in refused
        asked = await begin(console)
        code = issuer.code_for(asked)
        nameless = await console.page(f"{RETURN}?code={code}&state={asked['state']}", status=401)
        assert "names no tenant" in nameless
        issuer.is_away = True
        away = await console.http.get("/login/issuer")
        assert away.status_code == 503


async def test_without_a_client_at_the_issuer_there_is_no_such_login(tenant: Client) -> None:
    async with ConsoleClient(tenant.api_url) as console:
        assert "single sign-on" not in await console.page("/login")
        await console.page("/login/issuer", status=404)


async def test_nobody_is_sent_to_an_address_without_tls(
    stack: Stack, services: Services, issuer: Issuer
) -> None:
    environment = {
        "OIDC_ISSUER": issuer.url,
        "OIDC_AUDIENCE": AUDIENCE,
        "OIDC_CLIENT_ID": "console",
    }
    async with (
        served_api(stack, services.access, **environment) as api,
        ConsoleClient(api.url) as console,
    ):
        assert (await console.http.get("/login/issuer")).status_code == 503
        assert api.events("issuer_login_not_begun")


async def begin(console: ConsoleClient) -> dict[str, str]:
    """Give what the issuer is asked for a login."""
    sent = await console.http.get("/login/issuer")
    assert sent.status_code == 303
    return dict(parse_qsl(urlsplit(sent.headers["Location"]).query))
