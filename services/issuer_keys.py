"""The keys that an issuer signs its tokens with: fetched, kept for a while, and fetched again."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import structlog
from jwt import PyJWK, PyJWKSet
from jwt.exceptions import PyJWTError

from domain.errors import IssuerUnavailable

REFRESH_SECONDS: Final = 300.0
"""Age at which keys are fetched again, behind a request that still uses them: how long a key is
trusted, at most, that the issuer has taken back."""

STALE_SECONDS: Final = 3_600.0
"""Age from which on keys are not used any more, where the issuer does not answer."""

UNKNOWN_KEY_PAUSE_SECONDS: Final = 5.0
"""Least time between two fetches for keys that are not known: whoever invents names of keys does
not make this service call the issuer for each."""

DISCOVERY_PATH: Final = "/.well-known/openid-configuration"

Fetch = Callable[[str], Awaitable[Mapping[str, Any]]]


class IssuerKeys:
    """The present keys of an issuer.

    Parameters
    ----------
    issuer
        Its URL; below it stands the document that names the place of its keys.
    jwks_url
        Place of its keys; from that document where left out.
    fetch
        Reads a JSON object from a URL, and raises ``IssuerUnavailable``.
    """

    def __init__(self, issuer: str, fetch: Fetch, *, jwks_url: str | None = None) -> None:
        self._issuer = issuer
        self._fetch = fetch
        self._jwks_url = jwks_url
        self._keys: Mapping[str, PyJWK] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("issuer")

    async def find(self, key_id: str) -> PyJWK | None:
        """Give a key by its name; ``None`` where the issuer has no such key.

        Raises
        ------
        IssuerUnavailable
            The issuer does not answer, and what is known of its keys is too old.

        Notes
        -----
        Many callers wait for one fetch. A key that is known is given at once.
        """
        age = self._age()
        if age > STALE_SECONDS:
            await self._refreshed()
        elif key_id not in self._keys:
            if self._may_ask_again():
                await self._refreshed()
        elif age > REFRESH_SECONDS and self._may_ask_again():
            self._refresh()
        if self._age() > STALE_SECONDS:
            raise IssuerUnavailable
        return self._keys.get(key_id)

    def _age(self) -> float:
        return float("inf") if self._fetched_at is None else time.monotonic() - self._fetched_at

    def _may_ask_again(self) -> bool:
        if self._fetching is not None:
            return True
        tried_at = self._tried_at
        return tried_at is None or time.monotonic() - tried_at > UNKNOWN_KEY_PAUSE_SECONDS

    async def _refreshed(self) -> None:
        # One who waits may leave; the others' fetch goes on.
        await asyncio.shield(self._refresh())

    def _refresh(self) -> asyncio.Task[None]:
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch_keys())
            self._fetching.add_done_callback(self._fetched)
        return self._fetching

    def _fetched(self, _task: asyncio.Task[None]) -> None:
        self._fetching = None

    async def _fetch_keys(self) -> None:
        self._tried_at = time.monotonic()
        try:
            url = self._jwks_url or await discover(self._fetch, self._issuer, "jwks_uri")
            found = PyJWKSet.from_dict(dict(await self._fetch(url)))
        except (IssuerUnavailable, PyJWTError, ValueError, TypeError, LookupError) as error:
            self._log.warning("issuer_keys_not_fetched", reason=type(error).__name__)
            return
        self._keys = {key.key_id: key for key in found.keys if key.key_id}
        self._fetched_at = time.monotonic()


async def discover(fetch: Fetch, issuer: str, name: str) -> str:
    """Read one of an issuer's addresses from the document that names them.

    Raises
    ------
    IssuerUnavailable
        It does not answer, is another one, or has no such address.
    """
    document = await fetch(issuer.rstrip("/") + DISCOVERY_PATH)
    address = document.get(name)
    if document.get("issuer") != issuer or not isinstance(address, str):
        raise IssuerUnavailable
    return address
