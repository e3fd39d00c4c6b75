"""A browser for the tests that look at the console as people do."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser

from tests.support.browser import CHROMIUM, MISSING, running_browser


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        pytest.skip(MISSING)
    async with running_browser() as browser:
        yield browser
