"""Tokens of an OpenID Connect issuer, in place of API keys."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt
from jwt.exceptions import ExpiredSignatureError, InvalidTokenError, PyJWTError

from domain.access import Scope
from domain.errors import Unauthenticated
from domain.limits import NAME_LENGTH_MAXIMUM
from services.authentication import TokenClaims
from services.issuer_keys import IssuerKeys

ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
"""Signatures with a private key alone: with a shared secret, who checks tokens could make them."""

CLOCK_SKEW_SECONDS: Final = 30.0
"""How far the issuer's clock may be from this one."""

REQUIRED_CLAIMS: Final = ("exp", "iat", "iss", "aud", "sub")
_SCOPES: Final = {scope.value: scope for scope in Scope}


@dataclass(frozen=True, slots=True)
class TokenTerms:
    """Which tokens are taken, and where they say what.

    Parameters
    ----------
    audience
        What the tokens must be made for.
    tenant_claim
        Claim with the name of a tenant.
    scope_claim
        Claim with the scopes, as one text with spaces or as a list.
    """

    issuer: str
    audience: str
    tenant_claim: str = "tenant"
    scope_claim: str = "scope"


class TokenVerifier:
    """Checks tokens."""

    def __init__(self, terms: TokenTerms, keys: IssuerKeys) -> None:
        self._terms = terms
        self._keys = keys

    async def verify(self, token: str) -> TokenClaims:
        """Tell what a token says.

        Raises
        ------
        Unauthenticated
            It is no token, is not signed by a key of the issuer, has expired or is not valid yet,
            is for somebody else, or lacks a claim.
        IssuerUnavailable
            The issuer's keys cannot be had.
        """
        header = _header_of(token)
        key = await self._keys.find(str(header.get("kid", "")))
        if key is None:
            raise Unauthenticated("The token is not signed with a key of the issuer.")
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                audience=self._terms.audience,
                issuer=self._terms.issuer,
                leeway=CLOCK_SKEW_SECONDS,
                options={"require": list(REQUIRED_CLAIMS)},
            )
        except ExpiredSignatureError:
            raise Unauthenticated("The token has expired.") from None
        except (PyJWTError, ValueError, TypeError) as error:
            # Its kind alone: the message may quote the token.
            raise Unauthenticated(f"The token is not valid: {type(error).__name__}.") from None
        return self._claims(claims)

    def _claims(self, claims: Mapping[str, Any]) -> TokenClaims:
        subject, tenant = claims["sub"], claims.get(self._terms.tenant_claim)
        if not isinstance(subject, str) or not 1 <= len(subject) <= NAME_LENGTH_MAXIMUM:
            raise Unauthenticated("The token's subject is not a short text.")
        if not isinstance(tenant, str) or not tenant or "\0" in tenant + subject:
            raise Unauthenticated("The token names no tenant.")
        asked = claims.get(self._terms.scope_claim, "")
        words = asked.split() if isinstance(asked, str) else asked
        if not isinstance(words, list):
            raise Unauthenticated("The token's scopes are neither a text nor a list.")
        return TokenClaims(
            issuer=self._terms.issuer,
            subject=subject,
            tenant_name=tenant,
            # An issuer may know scopes of other services too.
            scopes=frozenset(_SCOPES[word] for word in words if word in _SCOPES),
        )


def _header_of(token: str) -> Mapping[str, Any]:
    """Read which key and algorithm a token names, before anything of it is believed."""
    try:
        header: Mapping[str, Any] = jwt.get_unverified_header(token)
    except (InvalidTokenError, ValueError):
        raise Unauthenticated("Send an API key, or a token of the issuer.") from None
    if header.get("alg") not in ALGORITHMS:
        raise Unauthenticated("The token's signature is of a kind that is not taken.")
    return header
