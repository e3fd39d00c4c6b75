"""A real browser on the console: the system's Chromium, driven by Playwright."""

import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import (
    Browser,
    BrowserContext,
    Page,
    ViewportSize,
    async_playwright,
)

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser")
MISSING: Final = "Chromium is not installed: apt-get install chromium"

WIDE: Final = {"width": 1280, "height": 860}
NARROW: Final = {"width": 390, "height": 844}
WAIT_MILLISECONDS: Final = 15_000
GRAVE: Final = frozenset({"serious", "critical"})
"""What axe says of violations that keep people out."""

AXE: Final = Axe()


@asynccontextmanager
async def running_browser() -> AsyncIterator[Browser]:
    """Start the system's Chromium; none is downloaded."""
    async with async_playwright() as playwright:
        # Without its sandbox, which root cannot have; it visits nothing but this machine.
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def window(
    browser: Browser, *, dark: bool = False, size: Mapping[str, Any] = WIDE, **options: Any
) -> AsyncIterator[Page]:
    """Open a window with cookies of its own; what a page logs as an error fails the block."""
    context: BrowserContext = await browser.new_context(
        viewport={"width": size["width"], "height": size["height"]},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
        **options,
    )
    context.set_default_timeout(WAIT_MILLISECONDS)
    page = await context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console",
        lambda message: (
            errors.append(message.text) if "Content Security Policy" in message.text else None
        ),
    )
    try:
        yield page
        assert errors == []
    finally:
        await context.close()


async def log_in(page: Page, api_url: str, api_key: str) -> None:
    """Log in with a key, as people do."""
    await page.goto(f"{api_url}/console")
    await page.get_by_label("API key").fill(api_key)
    await page.get_by_role("button", name="Log in").click()
    await page.wait_for_url(lambda url: "/login" not in url)


async def require_accessible(page: Page) -> None:
    """Require of the page that is open that axe finds nothing grave in it, light and dark."""
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        assert await grave_violations(page) == []
    await page.emulate_media(color_scheme="light")


async def require_accessible_and_fitting(page: Page) -> None:
    """Require the same of the page that is open, and that it fits wide and narrow windows."""
    for width in (WIDE, NARROW):
        await page.set_viewport_size(ViewportSize(width=width["width"], height=width["height"]))
        await require_accessible(page)
        assert await overflow(page) == 0


async def overflow(page: Page) -> int:
    """Tell by how many pixels a page is wider than its window."""
    pixels: int = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return pixels


async def grave_violations(page: Page) -> list[str]:
    """Let axe look at a page, and tell what keeps people out of it."""
    results = await AXE.run(page)
    return [
        f"{violation['id']}: {node['html']} {node['failureSummary']}"
        for violation in results.response["violations"]
        if violation["impact"] in GRAVE
        for node in violation["nodes"]
    ]
