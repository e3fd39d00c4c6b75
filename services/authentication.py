"""Who calls: keys checked, subjects of an issuer recognised. Only hashes of keys are stored."""

import hashlib
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from domain.access import Principal, Scope
from domain.audit import Actor, ActorKind
from domain.errors import Unauthenticated
from domain.ids import ApiKeyId, TenantId
from persistence.database import Database
from persistence.direct import FoundSubject
from services.identifiers import new_uuid

KEY_PREFIX: Final = "trf_"


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """What a token says that an issuer has signed and that is good just now."""

    issuer: str
    subject: str
    tenant_name: str
    scopes: frozenset[Scope]


class AuthenticationService:
    """Tells who calls.

    Parameters
    ----------
    verify_token
        Checks a token of the issuer, where there is one, and raises ``Unauthenticated``.
    """

    def __init__(
        self,
        database: Database,
        verify_token: Callable[[str], Awaitable[TokenClaims]] | None = None,
    ) -> None:
        self._database = database
        self._verify_token = verify_token

    async def authenticate(
        self, secret: str, *, source_address: str | None = None, request_id: str | None = None
    ) -> Principal:
        """Tell whom a key or a token belongs to.

        Parameters
        ----------
        source_address, request_id
            Of the request, for the audit log.

        Raises
        ------
        Unauthenticated
            There is no such key, or it was revoked or has expired; or the token is not good.
        IssuerUnavailable
            The keys that tokens are signed with cannot be had.
        DatabaseUnavailable
            No connection.

        Notes
        -----
        Keys are found by the SHA-256 of what was sent. Nobody can choose that hash, so how long the
        look-up takes tells nothing of a key that is good; what was found is compared with it in
        constant time: docs/decisions/0019. Nothing is cached: a revoked key is refused from the
        next request on, in every process.
        """
        if self._verify_token is not None and not secret.startswith(KEY_PREFIX):
            claims = await self._verify_token(secret)
            return await self._subject(claims, source_address, request_id)
        sent_hash = hash_of(secret)
        async with self._database.direct() as statements:
            grant = await statements.find_grant(sent_hash)
        if grant is None or not hmac.compare_digest(grant.secret_hash, sent_hash):
            raise Unauthenticated("The API key is not known, or it was revoked or has expired.")
        return Principal(
            tenant_id=grant.tenant_id,
            api_key_id=grant.api_key_id,
            scopes=grant.scopes,
            actor=Actor(
                ActorKind.API_KEY, str(grant.api_key_id), grant.name, source_address, request_id
            ),
            rate=grant.rate,
        )

    async def _subject(
        self, claims: TokenClaims, source_address: str | None, request_id: str | None
    ) -> Principal:
        """Give what a subject may do: its scopes are the token's, and it can be revoked here."""
        found = await self._find_subject(claims)
        if found.api_key_id is None:
            await self._register(found.tenant_id, claims, source_address, request_id)
            found = await self._find_subject(claims)
        if found.is_revoked or found.api_key_id is None:
            raise Unauthenticated("The subject of this token was revoked.")
        return _principal(claims, found, found.api_key_id, source_address, request_id)

    async def _find_subject(self, claims: TokenClaims) -> FoundSubject:
        async with self._database.direct() as statements:
            found = await statements.find_subject(claims.tenant_name, claims.issuer, claims.subject)
        if found is None:
            raise Unauthenticated("The token names no tenant of this service.")
        return found

    async def _register(
        self,
        tenant_id: TenantId,
        claims: TokenClaims,
        source_address: str | None,
        request_id: str | None,
    ) -> None:
        """Record a subject that is seen for the first time, once, however many come at a time."""
        key_id = ApiKeyId(new_uuid())
        async with self._database.transaction(tenant_id) as unit_of_work:
            is_new = await unit_of_work.api_keys.ensure_subject(
                key_id=key_id, tenant_id=tenant_id, issuer=claims.issuer, subject=claims.subject
            )
            if is_new:
                await unit_of_work.audit.record(
                    Actor(ActorKind.OIDC, str(key_id), claims.subject, source_address, request_id),
                    "api_key.register",
                    tenant_id=tenant_id,
                    subject_type="api_key",
                    subject_id=key_id,
                    details={"issuer": claims.issuer},
                )


def _principal(
    claims: TokenClaims,
    found: FoundSubject,
    api_key_id: ApiKeyId,
    source_address: str | None,
    request_id: str | None,
) -> Principal:
    return Principal(
        tenant_id=found.tenant_id,
        api_key_id=api_key_id,
        scopes=claims.scopes,
        actor=Actor(ActorKind.OIDC, str(api_key_id), claims.subject, source_address, request_id),
        rate=found.rate,
    )


def hash_of(secret: str) -> bytes:
    """Give what is stored of a secret."""
    return hashlib.sha256(secret.encode()).digest()
