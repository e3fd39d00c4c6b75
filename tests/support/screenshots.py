"""``python -m tests.support.screenshots FOLDER [NAME…]``: every page of the console, as it looks.

Light and dark, wide and narrow, over a stack of its own that is thrown away; see ``make
screenshots``. It takes some minutes: money moves meanwhile, so that the overview has a past. With
names, only those of them are taken that have an address of their own.
"""

import asyncio
import io
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Final, Literal

from PIL import Image
from playwright.async_api import Browser, Page, ViewportSize, expect

from domain.access import Scope
from runtime.composition import open_services
from runtime.local import make_local_stack
from runtime.local_stack import LocalStack
from runtime.stack_files import throwaway_data_dir
from runtime.stack_options import LocalStackOptions
from tests.support.api import Client, new_key
from tests.support.browser import (
    CHROMIUM,
    MISSING,
    NARROW,
    WIDE,
    log_in,
    running_browser,
    window,
)
from tests.support.console_data import PURPOSES, Business, make_business
from tests.support.console_pages import Trouble, in_trouble, pages_of, preview, running_batch
from tests.support.stuck import act, until_stuck
from tests.support.tenants import TenantMaker

HEIGHT_MAXIMUM: Final = 2_000
"""Pixels of a picture: what is further down looks like what is above it."""
SIZES: Final = {
    name: ViewportSize(width=size["width"], height=size["height"])
    for name, size in (("wide", WIDE), ("narrow", NARROW))
}
THEMES: Final[tuple[Literal["light"], Literal["dark"]]] = ("light", "dark")
DATABASE: Final = "postgres"
BATCH_ROWS: Final = 2_400

EARLY: Final = ("transfers", "transfers-search")
"""Taken before money goes on moving, and a batch is posted, which would fill them."""
LATE: Final = "overview"
PAST_SECONDS: Final = 240
"""How long money moves before the overview is taken."""
PAUSE_SECONDS: Final = 1.5
PROOF_MILLISECONDS: Final = 300_000
"""How long each invariant is given to be proved once."""


@dataclass(frozen=True, slots=True)
class Studio:
    """What pictures are taken of, and where they go.

    Parameters
    ----------
    names
        Of the pages that are taken alone; all where it is empty.
    """

    browser: Browser
    business: Business
    reader: Client
    folder: Path
    names: frozenset[str]

    @property
    def address(self) -> str:
        return f"{self.business.operator.api_url}/console"

    async def windows(self, *, key: str | None) -> AsyncGenerator[tuple[Page, str]]:
        """Open one window after the other, of each size and theme, logged in with a key."""
        for size_name, size in SIZES.items():
            for theme in THEMES:
                async with window(self.browser, dark=theme == "dark", size=size) as page:
                    if key is not None:
                        await log_in(page, self.business.operator.api_url, key)
                    yield page, f"{size_name}-{theme}"

    async def take(self, page: Page, name: str, kind: str) -> None:
        """Take a picture, without any loss, of what is open."""
        wide = await page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        if wide:
            sys.stdout.write(f"{name}-{kind}: {wide} px too wide\n")
        picture = Image.open(io.BytesIO(await page.screenshot(full_page=True))).convert("RGB")
        picture = picture.crop((0, 0, picture.width, min(picture.height, HEIGHT_MAXIMUM)))
        path = self.folder / f"{name}-{kind}.webp"
        picture.save(path, "WEBP", lossless=True, quality=100, method=6)

    async def take_all(self, pages: Mapping[str, str]) -> None:
        """Take pictures of pages that have an address."""
        pages = {name: path for name, path in pages.items() if not self.names or name in self.names}
        async with aclosing(self.windows(key=self.business.operator.api_key)) as windows:
            async for page, kind in windows:
                for name, path in pages.items():
                    await page.goto(f"{self.address}{path}")
                    await expect(page.locator(".loading")).to_have_count(0)
                    await self.take(page, name, kind)


async def main(folder: Path, names: frozenset[str]) -> int:
    if CHROMIUM is None:
        sys.stderr.write(f"{MISSING}\n")
        return 1
    with throwaway_data_dir() as data_dir:
        options = LocalStackOptions(
            data_dir=data_dir, api_port=0, postgres_port=0, temporal_port=0, temporal_ui_port=0
        )
        async with make_local_stack(options) as stack, AsyncExitStack() as exits:
            services = await exits.enter_async_context(open_services(stack.info.database_url))
            make_tenant = TenantMaker(stack.info.api_url, services.access, exits)
            business = await make_business(make_tenant, "Acme Wallets")
            reader = await make_tenant("Acme Wallets", scopes=[Scope.TRANSFERS_READ])
            browser = await exits.enter_async_context(running_browser())
            studio = Studio(browser, business, reader, folder, names)
            pages = dict(pages_of(business))
            await studio.take_all({name: pages.pop(name) for name in EARLY})
            database_url = stack.info.database_url
            batches = pages.pop("batches")
            async with in_trouble(business, database_url) as trouble:
                await _all(studio, trouble, {**pages, **trouble.pages()})
            async with running_batch(business, database_url, rows=BATCH_ROWS) as batch:
                running = f"/batches/{batch['id']}"
                await studio.take_all({"batches": batches, "batch-running": running})
            if not names:
                await _unavailable(studio, stack)
    return 0


async def _all(studio: Studio, trouble: Trouble, pages: dict[str, str]) -> None:
    began = monotonic()
    overview = {LATE: pages.pop(LATE) + "?period=15m"}
    async with _money_moving(studio.business):
        await studio.take_all(pages)
        if not studio.names:
            await _without_login(studio)
            await _forbidden(studio)
            await _forms(studio, trouble)
        if not studio.names or LATE in studio.names:
            await asyncio.sleep(max(0.0, began + PAST_SECONDS - monotonic()))
            await _proved(studio)
            await studio.take_all(overview)


@asynccontextmanager
async def _money_moving(business: Business) -> AsyncIterator[None]:
    """Let customers go on with their day."""
    ada, bob, shop = (account["id"] for account in business.accounts[:3])

    async def go_on() -> None:
        for number in count():
            source, destination = ((ada, bob), (ada, shop), (shop, ada), (bob, shop))[number % 4]
            refused = number % 9 == 7
            await business.maker.post_transfer(
                key=new_key(),
                source=bob if refused else source,
                destination=shop if refused else destination,
                amount=50_000_00 if refused else 900 + 61 * (number % 37),
                currency="EUR",
                description=PURPOSES[number % len(PURPOSES)],
            )
            await asyncio.sleep(PAUSE_SECONDS * (number % 3) / 2)

    task = asyncio.create_task(go_on())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _without_login(studio: Studio) -> None:
    async with aclosing(studio.windows(key=None)) as windows:
        async for page, kind in windows:
            for name, path in (("login", "/login"), ("login-ended", "/login?ended=1")):
                await page.goto(f"{studio.address}{path}")
                await studio.take(page, name, kind)


async def _forbidden(studio: Studio) -> None:
    async with aclosing(studio.windows(key=studio.reader.api_key)) as windows:
        async for page, kind in windows:
            await page.goto(f"{studio.address}/api-keys")
            await studio.take(page, "forbidden", kind)


async def _forms(studio: Studio, trouble: Trouble) -> None:
    """Take pictures of what forms lead to."""
    operator, stuck = studio.business.operator, trouble.stuck
    async with aclosing(studio.windows(key=operator.api_key)) as windows:
        async for page, kind in windows:
            await page.goto(f"{studio.address}/api-keys")
            await page.get_by_text("New key…").click()
            await page.get_by_label("Name").fill("Till 4")
            await page.get_by_label("Reason").first.fill("A new till")
            await page.get_by_label("accounts:read").check()
            await page.get_by_role("button", name="Make the key").click()
            await expect(page.get_by_label("Secret of Till 4")).to_be_visible()
            await studio.take(page, "api-key-secret", kind)
            await preview(page, studio.address, stuck, "pause")
            await studio.take(page, "stuck-preview", kind)
            await page.get_by_role("button", name="Pause 2 of 2").click()
            await expect(page.get_by_role("heading", level=1)).to_contain_text("what was done")
            await studio.take(page, "stuck-results", kind)
            for transfer in stuck:
                await act(operator, transfer["id"], "resume")
            for transfer in stuck:
                await until_stuck(operator, transfer["id"], "activity_failing")


async def _proved(studio: Studio) -> None:
    """Wait until each invariant was proved once."""
    async with window(studio.browser) as page:
        await log_in(page, studio.business.operator.api_url, studio.business.operator.api_key)
        await page.goto(f"{studio.address}/overview")
        missing = page.get_by_text("Not proved yet")
        await expect(missing).to_have_count(0, timeout=PROOF_MILLISECONDS)


async def _unavailable(studio: Studio, stack: LocalStack) -> None:
    """Take a page's picture while the database is away."""
    async with window(studio.browser) as page:
        await log_in(page, studio.business.operator.api_url, studio.business.operator.api_key)
        await stack.stop_part(DATABASE)
        for size_name, size in SIZES.items():
            await page.set_viewport_size(size)
            for theme in THEMES:
                await page.emulate_media(color_scheme=theme)
                await page.goto(f"{studio.address}/transfers")
                await studio.take(page, "unavailable", f"{size_name}-{theme}")
    await stack.start_part(DATABASE)


if __name__ == "__main__":
    chosen = Path(sys.argv[1])
    chosen.mkdir(parents=True, exist_ok=True)
    sys.exit(asyncio.run(main(chosen, frozenset(sys.argv[2:]))))
