"""The OpenID Connect issuer that the settings name: its tokens are taken in place of API keys."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx

from api.console.issuer_login import IssuerLogin, LoginTerms
from domain.errors import IssuerUnavailable
from runtime.settings import Settings
from services.authentication import TokenClaims
from services.issuer_keys import IssuerKeys
from services.tokens import TokenTerms, TokenVerifier

FETCH_SECONDS: Final = 5.0
DOCUMENT_BYTES_MAXIMUM: Final = 256 * 1024

Verify = Callable[[str], Awaitable[TokenClaims]]


@dataclass(frozen=True, slots=True)
class Issuer:
    """What an issuer is for.

    Parameters
    ----------
    verify
        Checks its tokens; ``None`` where the settings name no issuer.
    login
        Lets people log in to the console there; ``None`` where it does not know the console.
    """

    verify: Verify | None = None
    login: IssuerLogin | None = None


@asynccontextmanager
async def open_issuer(settings: Settings) -> AsyncIterator[Issuer]:
    """Give what an issuer is for, where the settings name one; nothing is fetched yet."""
    if settings.oidc_issuer is None or settings.oidc_audience is None:
        yield Issuer()
        return
    # Redirects are not followed: whoever could answer with one could name keys of its own.
    async with httpx.AsyncClient(timeout=FETCH_SECONDS, follow_redirects=False) as http:

        async def fetch(url: str) -> Mapping[str, Any]:
            return await _fetch(http, url)

        keys = IssuerKeys(settings.oidc_issuer, fetch, jwks_url=settings.oidc_jwks_url)
        terms = TokenTerms(
            issuer=settings.oidc_issuer,
            audience=settings.oidc_audience,
            tenant_claim=settings.oidc_tenant_claim,
            scope_claim=settings.oidc_scope_claim,
        )
        login = None
        if settings.oidc_client_id is not None:
            secret = settings.oidc_client_secret
            login_terms = LoginTerms(
                issuer=terms.issuer,
                audience=terms.audience,
                client_id=settings.oidc_client_id,
                client_secret=secret.get_secret_value() if secret else None,
                scope=settings.oidc_login_scope,
            )
            login = IssuerLogin(login_terms, http, fetch)
        yield Issuer(TokenVerifier(terms, keys).verify, login)


async def _fetch(http: httpx.AsyncClient, url: str) -> Mapping[str, Any]:
    """Read a small JSON object.

    Raises
    ------
    IssuerUnavailable
        Nothing answers, or something else.
    """
    try:
        async with http.stream("GET", url, headers={"Accept": "application/json"}) as answer:
            answer.raise_for_status()
            body = b""
            async for piece in answer.aiter_bytes():
                body += piece
                if len(body) > DOCUMENT_BYTES_MAXIMUM:
                    raise IssuerUnavailable
        document = httpx.Response(200, content=body).json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise IssuerUnavailable from error
    if not isinstance(document, dict):
        raise IssuerUnavailable
    return document
