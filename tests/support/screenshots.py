"""``python -m tests.support.screenshots FOLDER``: every page of the console, as it looks.

Light and dark, wide and narrow, over a stack of its own that is thrown away; see ``make
screenshots``.
"""

import asyncio
import io
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.async_api import Browser, Page, expect

from runtime.composition import open_services
from runtime.local import make_local_stack
from runtime.stack_files import throwaway_data_dir
from runtime.stack_options import LocalStackOptions
from tests.support.api import Client, Json
from tests.support.browser import (
    CHROMIUM,
    MISSING,
    NARROW,
    WIDE,
    log_in,
    running_browser,
    window,
)
from tests.support.console_data import Business, make_business
from tests.support.console_pages import pages_of
from tests.support.stuck import broken_posting, promised, until_stuck
from tests.support.tenants import TenantMaker

HEIGHT_MAXIMUM: Final = 2_000
"""Pixels of a picture: what is further down looks like what is above it."""
COLOURS: Final = 256
SIZES: Final = {"wide": WIDE, "narrow": NARROW}


async def main(folder: Path) -> int:
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
            browser = await exits.enter_async_context(running_browser())
            stuck = await _stuck(business, stack.info.database_url, exits)
            await _all(browser, business, stuck, folder)
    return 0


async def _stuck(business: Business, database_url: str, exits: AsyncExitStack) -> Json:
    """Let a step of a transfer fail in PostgreSQL until the pictures are taken."""
    maker = business.maker
    destination = await maker.account()
    await exits.enter_async_context(broken_posting(database_url, destination))
    transfer = await promised(maker, business.accounts[0], destination, amount=48_000)
    await until_stuck(business.operator, transfer["id"], "activity_failing")
    return transfer


async def _all(browser: Browser, business: Business, stuck: Json, folder: Path) -> None:
    pages = {**pages_of(business), "transfer-stuck": f"/transfers/{stuck['id']}"}
    for size_name, size in SIZES.items():
        for theme in ("light", "dark"):
            async with window(browser, dark=theme == "dark", size=size) as page:
                await page.goto(f"{business.operator.api_url}/console/login")
                await _take(page, folder / f"login-{size_name}-{theme}.webp")
                await _pages(page, business.operator, pages, folder, f"{size_name}-{theme}")


async def _pages(
    page: Page, operator: Client, pages: Mapping[str, str], folder: Path, kind: str
) -> None:
    await log_in(page, operator.api_url, operator.api_key)
    for name, path in pages.items():
        await page.goto(f"{operator.api_url}/console{path}")
        await expect(page.locator(".loading")).to_have_count(0)
        await _take(page, folder / f"{name}-{kind}.webp")
        wide = await page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        if wide:
            sys.stdout.write(f"{name}-{kind}: {wide} px too wide\n")


async def _take(page: Page, path: Path) -> None:
    """Take a picture with few colours, which pages of words do not miss."""
    raw = await page.screenshot(full_page=True)
    picture = Image.open(io.BytesIO(raw)).convert("RGB")
    picture = picture.crop((0, 0, picture.width, min(picture.height, HEIGHT_MAXIMUM)))
    few = picture.quantize(COLOURS, dither=Image.Dither.NONE)
    few.convert("RGB").save(path, "WEBP", lossless=True, method=6)


if __name__ == "__main__":
    chosen = Path(sys.argv[1])
    chosen.mkdir(parents=True, exist_ok=True)
    sys.exit(asyncio.run(main(chosen)))
