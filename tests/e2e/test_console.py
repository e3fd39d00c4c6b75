"""The console in a real browser, over the running stack."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import product

import pytest
from playwright.async_api import Browser, Page, Route, expect

from api.console.pages import LIVE_SECONDS
from domain.access import Scope
from runtime.composition import Services
from tests.support.api import Client
from tests.support.approvals import Desk
from tests.support.batches import post_batch, row
from tests.support.browser import (
    NARROW,
    WIDE,
    grave_violations,
    log_in,
    overflow,
    require_accessible,
    require_accessible_and_fitting,
    window,
)
from tests.support.console_data import Business, make_business
from tests.support.console_pages import pages_of, preview
from tests.support.served import locked_balance, locked_table
from tests.support.stack import Stack
from tests.support.stuck import (
    FAILURE,
    broken_posting,
    broken_recording,
    promised,
    until_state,
    until_stuck,
)
from tests.support.tenants import TenantMaker

PROGRESS_MILLISECONDS = 30_000


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    async with window(browser) as page:
        yield page


@pytest.fixture
async def business(make_tenant: TenantMaker, tenant: Client) -> Business:
    return await make_business(make_tenant, tenant.record.tenant_name)


@asynccontextmanager
async def late_update(page: Page, path: str) -> AsyncIterator[None]:
    """Hold back a page's update of itself until the block is over, and then let it come in."""
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        asked.set()
        await go_on.wait()
        await route.continue_()

    await page.route(f"**{path}", hold)
    async with page.expect_response(lambda response: response.url.endswith(path)) as answer:
        await asked.wait()
        yield
        go_on.set()
    await (await answer.value).finished()
    await page.unroute(f"**{path}")
    # By then the page has done with the answer whatever it does with it.
    await expect(page.locator("[data-live-state]")).to_have_text("Waits for your form")


async def test_a_second_person_approves_what_waits(
    page: Page, tenant: Client, make_tenant: TenantMaker
) -> None:
    desk = await Desk.open(tenant, make_tenant)
    await tenant.rule(500)
    waiting = await desk.waiting(amount=600, description="New warehouse")
    await log_in(page, tenant.api_url, desk.approvers[0].api_key)
    await page.get_by_role("link", name="Approvals").click()
    request = page.locator(f"#transfer-{waiting['id']}")
    await expect(request).to_contain_text("New warehouse")
    async with late_update(page, "/console/approvals"):
        await request.get_by_label("Note").fill("Seen the contract")
        await page.keyboard.press("Tab")
        await expect(request.get_by_role("button", name="Approve")).to_be_focused()
    assert await request.get_by_label("Note").input_value() == "Seen the contract"
    await request.get_by_role("button", name="Approve").click()
    await expect(page.get_by_role("status")).to_contain_text("Approved.")
    await expect(page.get_by_text("Nothing waits for you.")).to_be_visible()
    await page.goto(f"{tenant.api_url}/console/transfers/{waiting['id']}")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Succeeded")
    await expect(page.get_by_role("cell", name="Seen the contract")).to_be_visible()
    assert await desk.balances() == (400, 0, 600)


async def test_a_request_shows_up_while_one_looks_at_the_inbox(
    page: Page, tenant: Client, make_tenant: TenantMaker
) -> None:
    desk = await Desk.open(tenant, make_tenant)
    await tenant.rule(500)
    await log_in(page, tenant.api_url, desk.approvers[0].api_key)
    await page.goto(f"{tenant.api_url}/console/approvals")
    await expect(page.get_by_text("Nothing waits for you.")).to_be_visible()
    await desk.waiting(amount=700)
    await expect(page.get_by_role("button", name="Approve 7.00 EUR")).to_be_visible()


async def test_a_key_is_made_whose_secret_is_shown_once(page: Page, tenant: Client) -> None:
    await log_in(page, tenant.api_url, tenant.api_key)
    await page.get_by_role("link", name="API keys").click()
    await page.get_by_text("New key…").click()
    assert await grave_violations(page) == []
    await page.get_by_label("Name").fill("till 4")
    await page.get_by_label("Reason").first.fill("A new till")
    await page.get_by_label("accounts:read").check()
    await page.get_by_role("button", name="Make the key").click()
    secret = await page.get_by_label("Secret of till 4").input_value()
    await require_accessible(page)
    async with Client(tenant.api_url, secret, tenant.record) as till:
        assert (await till.call("GET", "/accounts")).status_code == 200
        assert (await till.call("GET", "/users")).status_code == 403
    await page.get_by_role("link", name="Back to the keys").click()
    await expect(page.get_by_role("cell", name="till 4")).to_be_visible()
    assert secret not in await page.content()


async def test_a_batch_is_watched_to_its_end(page: Page, tenant: Client, stack: Stack) -> None:
    source, destination = await tenant.account(balance=5_000), await tenant.account()
    rows = [row(1, source=source["id"], destination=destination["id"]) for _ in range(2_500)]
    await log_in(page, tenant.api_url, tenant.api_key)
    async with locked_balance(stack.database_url, source["id"]):
        batch = (await post_batch(tenant, rows, prefer=None, description="Payroll")).json()
        await page.goto(f"{tenant.api_url}/console/batches/{batch['id']}")
        await expect(page.get_by_text("0 of 2,500")).to_be_visible()
        await require_accessible(page)
        await page.evaluate("window.isTheSamePage = true")
    await expect(page.get_by_text("2,500 of 2,500")).to_be_visible(timeout=PROGRESS_MILLISECONDS)
    await expect(page.locator(".batch-line")).to_contain_text("Completed")
    assert await page.evaluate("window.isTheSamePage")
    assert await tenant.posted(destination["id"]) == 2_500


async def test_an_action_that_the_key_may_not_do_is_forbidden(
    page: Page, tenant: Client, make_tenant: TenantMaker
) -> None:
    account = await tenant.account()
    reader = await make_tenant(
        tenant.record.tenant_name, scopes=[Scope.ACCOUNTS_READ, Scope.TRANSFERS_READ]
    )
    await log_in(page, tenant.api_url, reader.api_key)
    await page.goto(f"{tenant.api_url}/console/accounts/{account['id']}")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Ada")
    await expect(page.get_by_text("Freeze")).to_have_count(0)
    await page.evaluate(
        """path => {
            const form = document.querySelector("form[action$='/logout']");
            form.action = path;
            form.submit();
        }""",
        f"/console/accounts/{account['id']}/freeze",
    )
    await expect(page.get_by_role("heading", level=1)).to_contain_text("You may not do this")
    await expect(page.get_by_text("lacks the scope accounts:write")).to_be_visible()
    await require_accessible(page)
    assert (await tenant.get(f"/accounts/{account['id']}"))["status"] == "ACTIVE"


async def test_a_page_whose_session_ends_leads_to_the_login_and_back(
    page: Page, tenant: Client, make_tenant: TenantMaker, services: Services
) -> None:
    other = await make_tenant(tenant.record.tenant_name)
    await log_in(page, tenant.api_url, other.api_key)
    await page.goto(f"{tenant.api_url}/console/transfers?state=FAILED")
    await services.access.revoke_key(str(other.record.id))
    await expect(page.get_by_text("Your session has ended.")).to_be_visible()
    await require_accessible(page)
    await page.get_by_label("API key").fill(tenant.api_key)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Transfers")
    assert page.url.endswith("/console/transfers?state=FAILED")


async def test_a_form_is_not_taken_away_while_it_is_filled_in(page: Page, tenant: Client) -> None:
    account = await tenant.account(balance=100)
    await log_in(page, tenant.api_url, tenant.api_key)
    await page.goto(f"{tenant.api_url}/console/accounts/{account['id']}")
    await page.get_by_text("Freeze…").click()
    await page.get_by_label("Reason").fill("Card was stolen")
    await tenant.deposit(account["id"], 23)
    # The page asks no more, so that there is nothing to wait for but its own pace.
    await page.wait_for_timeout(LIVE_SECONDS * 1_500)
    assert await page.get_by_label("Reason").input_value() == "Card was stolen"
    await page.get_by_role("button", name="Freeze the account").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Frozen")
    await expect(page.get_by_text("1.23").first).to_be_visible()


async def test_the_console_is_used_with_the_keyboard_alone(page: Page, tenant: Client) -> None:
    account = await tenant.account(balance=100)
    await log_in(page, tenant.api_url, tenant.api_key)
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    await page.goto(f"{tenant.api_url}/console/transfers")
    await page.keyboard.press("/")
    await page.keyboard.type(account["id"])
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Ada")


async def test_a_part_that_does_not_come_says_so_until_it_does(page: Page, tenant: Client) -> None:
    await log_in(page, tenant.api_url, tenant.api_key)
    transfer = await tenant.deposit((await tenant.account())["id"], 5)
    part = f"**/console/transfers/{transfer['id']}/workflow"
    await page.route(part, lambda route: route.abort())
    await page.goto(f"{tenant.api_url}/console/transfers/{transfer['id']}")
    panel = page.locator("#workflow-panel")
    await expect(panel).to_contain_text("could not be looked up just now")
    await require_accessible(page)
    await page.unroute(part)
    await expect(panel).to_contain_text("reserve_funds")


async def test_the_console_works_without_scripts(browser: Browser, tenant: Client) -> None:
    account = await tenant.account(balance=100)
    async with window(browser, java_script_enabled=False) as page:
        await log_in(page, tenant.api_url, tenant.api_key)
        await page.goto(f"{tenant.api_url}/console/accounts/{account['id']}")
        await page.get_by_text("Freeze…").click()
        await page.get_by_label("Reason").fill("Card was stolen")
        await page.get_by_role("button", name="Freeze the account").click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("Frozen")
        await page.goto(f"{tenant.api_url}/console/overview")
        await expect(page.locator("#stuck-count")).to_have_text("See the list", use_inner_text=True)
        [deposit] = (await tenant.get("/transfers"))["data"]
        await page.goto(f"{tenant.api_url}/console/transfers/{deposit['id']}")
        await page.locator("#workflow-panel").get_by_role("link", name="Open it").click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("Workflow of transfer")
        await expect(page.locator("#history-table")).to_contain_text("reserve_funds")
        await page.get_by_role("link", name="Overview").click()
        await page.get_by_label("Theme").select_option("dark")
        await page.get_by_role("button", name="Set").click()
        await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        await page.get_by_role("button", name="Log out").click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("Operators' console")


async def test_every_page_is_accessible_and_fits_wide_and_narrow_screens(
    browser: Browser, business: Business
) -> None:
    for dark, size in product((False, True), (WIDE, NARROW)):
        async with window(browser, dark=dark, size=size) as page:
            await page.goto(f"{business.operator.api_url}/console/login")
            assert await grave_violations(page) == []
            await log_in(page, business.operator.api_url, business.operator.api_key)
            for name, path in pages_of(business).items():
                await page.goto(f"{business.operator.api_url}/console{path}")
                await expect(page.locator(".loading")).to_have_count(0)
                assert (name, await grave_violations(page)) == (name, [])
                assert (name, await overflow(page)) == (name, 0)


async def test_a_page_that_cannot_be_made_just_now_says_so_with_and_without_its_frame(
    page: Page, tenant: Client, stack: Stack
) -> None:
    await log_in(page, tenant.api_url, tenant.api_key)
    for table, frames in (("audit_log", 1), ("console_sessions", 0)):
        async with locked_table(stack.database_url, table):
            response = await page.goto(f"{tenant.api_url}/console/audit-log")
        assert response is not None
        assert response.status == 503
        heading = page.get_by_role("heading", level=1)
        await expect(heading).to_have_text("Not available just now")
        await expect(page.get_by_role("navigation", name="Console")).to_have_count(frames)
        await require_accessible_and_fitting(page)


async def test_what_was_done_with_several_is_told_of_each(
    page: Page, tenant: Client, stack: Stack
) -> None:
    source, destination = await tenant.account(balance=1_000), await tenant.account()
    await log_in(page, tenant.api_url, tenant.api_key)
    async with broken_posting(stack.database_url, destination):
        stuck = [await promised(tenant, source, destination, amount) for amount in (600, 300)]
        for transfer in stuck:
            await until_stuck(tenant, transfer["id"], "activity_failing")
        await preview(page, f"{tenant.api_url}/console", stuck, "retry")
        await page.get_by_role("button", name="Retry 2 of 2").click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("what was done")
        for transfer in stuck:
            row_of_it = page.get_by_role("row").filter(has_text=transfer["idempotency_key"])
            await expect(row_of_it).to_be_visible()
        await require_accessible_and_fitting(page)
    for transfer in stuck:
        await until_state(tenant, transfer["id"], "SUCCESS")


async def test_an_operator_finds_a_stuck_transfer_reads_why_retries_it_and_sees_it_succeed(
    page: Page, tenant: Client, stack: Stack
) -> None:
    source, destination = await tenant.account(balance=1_000), await tenant.account()
    await log_in(page, tenant.api_url, tenant.api_key)
    async with (
        broken_posting(stack.database_url, destination) as posting,
        broken_recording(stack.database_url, destination) as recording,
    ):
        transfer = await promised(tenant, source, destination)
        accepted = await promised(tenant, destination, source)
        await page.goto(f"{tenant.api_url}/console/transfers/{accepted['id']}")
        await expect(
            page.locator("#judgement-panel").get_by_role("button", name="Cancel")
        ).to_be_visible()
        await require_accessible(page)
        await recording.mend()
        await until_stuck(tenant, transfer["id"], "activity_failing")
        await page.get_by_role("link", name="Stuck", exact=True).click()
        row_of_it = page.locator(f"#stuck-{transfer['id']}")
        await expect(row_of_it).to_contain_text("Activity failing")
        await expect(row_of_it).to_contain_text(FAILURE)
        await require_accessible(page)
        await row_of_it.get_by_role("link", name=transfer["idempotency_key"]).click()
        panel = page.locator("#judgement-panel")
        await expect(panel).to_contain_text("Its step post_entries fails again and again")
        await expect(page.locator(".timeline")).to_contain_text("failed")
        await expect(page.locator("#history-table")).to_contain_text("Activity pending")
        await require_accessible(page)
        await panel.get_by_label("Reason").fill("The disk has space again")
        await panel.get_by_role("button", name="Retry").click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("what would happen")
        await expect(page.get_by_text("is tried again at once")).to_be_visible()
        await require_accessible(page)
        # Only now, for its next attempt comes by itself within seconds.
        await posting.mend()
    await page.get_by_role("button", name="Retry").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Succeeded")
    await expect(page.get_by_role("cell", name="The disk has space again")).to_be_visible()
    assert await tenant.posted(destination["id"]) == 600
