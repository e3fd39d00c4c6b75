"""Logging people in at the OpenID Connect issuer: the authorisation code flow, with PKCE."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

import httpx
import structlog
from httpx import USE_CLIENT_DEFAULT
from oauthlib.oauth2 import OAuth2Error, WebApplicationClient

from api.console.cookies import packed, unpacked
from domain.errors import IssuerUnavailable, Unauthenticated
from services.issuer_keys import Fetch, discover

VERIFIER_CHARACTERS: Final = 64
"""Of the 43 to 128 that RFC 7636 allows."""
STATE_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class LoginTerms:
    """How the console is known to the issuer.

    Parameters
    ----------
    client_secret
        Where the issuer has given one; PKCE protects the login in any case.
    scope
        What the issuer is asked for, with spaces between.
    """

    issuer: str
    audience: str
    client_id: str
    client_secret: str | None = field(repr=False)
    scope: str


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """What the browser keeps while somebody is at the issuer.

    Parameters
    ----------
    state
        Comes back from the issuer: the answer belongs to this browser.
    verifier
        Shows the issuer that who asks for the token is who began.
    wanted
        The page to go to afterwards.
    """

    state: str
    verifier: str
    wanted: str

    def text(self) -> str:
        """Write it down for a cookie."""
        return packed([self.state, self.verifier, self.wanted])

    @classmethod
    def read(cls, text: str) -> Self | None:
        """Read a cookie; ``None`` where it is not one of these."""
        match unpacked(text):
            case [state, verifier, wanted]:
                return cls(str(state), str(verifier), str(wanted))
            case _:
                return None


class IssuerLogin:
    """Sends people to the issuer and takes them back.

    Parameters
    ----------
    http
        Calls the issuer; it bounds the time.
    fetch
        Reads a JSON object from a URL, and raises ``IssuerUnavailable``.
    """

    def __init__(self, terms: LoginTerms, http: httpx.AsyncClient, fetch: Fetch) -> None:
        self._terms = terms
        self._http = http
        self._fetch = fetch
        self._log = structlog.get_logger("issuer")

    async def begin(self, callback: str, wanted: str) -> tuple[str, LoginAttempt]:
        """Give the address to send somebody to, and what their browser keeps meanwhile.

        Parameters
        ----------
        callback
            Absolute address that the issuer sends them back to.

        Raises
        ------
        IssuerUnavailable
            The issuer does not say where, or names no address of https.
        """
        place = await discover(self._fetch, self._terms.issuer, "authorization_endpoint")
        client = WebApplicationClient(self._terms.client_id)
        attempt = LoginAttempt(
            state=secrets.token_urlsafe(STATE_BYTES),
            verifier=client.create_code_verifier(VERIFIER_CHARACTERS),
            wanted=wanted,
        )
        try:
            address: str = client.prepare_request_uri(
                place,
                redirect_uri=callback,
                scope=self._terms.scope,
                state=attempt.state,
                code_challenge=client.create_code_challenge(attempt.verifier, "S256"),
                code_challenge_method="S256",
                # Some issuers make a token for an API only where it is named.
                audience=self._terms.audience,
            )
        except OAuth2Error as error:
            # As where the address is none of https.
            self._log.warning("issuer_login_not_begun", reason=type(error).__name__)
            raise IssuerUnavailable from error
        return address, attempt

    async def finish(self, callback: str, attempt: LoginAttempt, answer: Mapping[str, str]) -> str:
        """Give the access token that the issuer made for somebody who is back.

        Parameters
        ----------
        answer
            What the issuer sent along.

        Raises
        ------
        Unauthenticated
            The issuer refused, or the answer belongs to another login.
        IssuerUnavailable
            The issuer does not answer.
        """
        if not secrets.compare_digest(answer.get("state", "").encode(), attempt.state.encode()):
            raise Unauthenticated("The issuer's answer belongs to another login.")
        if answer.get("iss", self._terms.issuer) != self._terms.issuer:
            raise Unauthenticated("The answer is another issuer's.")
        if "code" not in answer:
            raise Unauthenticated("The issuer has not let you in.")
        client = WebApplicationClient(self._terms.client_id)
        body = client.prepare_request_body(
            code=answer["code"], redirect_uri=callback, code_verifier=attempt.verifier
        )
        place = await discover(self._fetch, self._terms.issuer, "token_endpoint")
        try:
            token = client.parse_request_body_response(await self._token(place, body))
        except OAuth2Error:
            raise Unauthenticated("The issuer has not taken the login's code.") from None
        return str(token["access_token"])

    async def _token(self, place: str, body: str) -> str:
        """Ask for a token; what refuses one is an answer, too."""
        secret = self._terms.client_secret
        auth = httpx.BasicAuth(self._terms.client_id, secret) if secret else USE_CLIENT_DEFAULT
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            answer = await self._http.post(place, content=body, headers=headers, auth=auth)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise IssuerUnavailable from error
        if answer.is_server_error:
            raise IssuerUnavailable
        return answer.text
