"""The console without a browser: pages as text, and forms sent as a browser would."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Self

import httpx

from runtime.trust import trust_for
from tests.support.api import TIMEOUT_SECONDS, Client

_TOKEN: Final = re.compile(r'name="csrf_token" value="([0-9a-f]{64})"')


class ConsoleClient:
    """A browser's cookies and nothing more of it; redirects are shown, not followed."""

    def __init__(self, api_url: str) -> None:
        self.http = httpx.AsyncClient(
            base_url=f"{api_url}/console",
            timeout=TIMEOUT_SECONDS,
            trust_env=False,
            verify=trust_for(api_url),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.http.aclose()

    async def log_in(self, api_key: str, **fields: str) -> httpx.Response:
        """Send the login's form, as its page gave it."""
        token = form_token_in((await self.http.get("/login")).text)
        form = {"csrf_token": token, "api_key": api_key, **fields}
        return await self.http.post("/login", data=form)

    async def page(self, path: str, status: int = 200, **options: Any) -> str:
        """Read a page that must be there."""
        response = await self.http.get(path, **options)
        assert response.status_code == status, response.text
        return response.text

    async def send(self, path: str, page: str = "/overview", **fields: Any) -> httpx.Response:
        """Send a form with the token that a page of the session carries."""
        token = form_token_in((await self.http.get(page)).text)
        return await self.http.post(path, data={"csrf_token": token, **fields})


def form_token_in(text: str) -> str:
    found = _TOKEN.search(text)
    assert found is not None, text
    return found[1]


@asynccontextmanager
async def console_of(client: Client) -> AsyncIterator[ConsoleClient]:
    """Give a console that is logged in with a client's key."""
    async with ConsoleClient(client.api_url) as console:
        response = await console.log_in(client.api_key)
        assert response.status_code == 303, response.text
        yield console
