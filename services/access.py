"""API keys: made, checked, revoked. Only a hash of a key is ever stored."""

import hashlib
import secrets
from typing import Final

from domain.access import ApiKey, Principal, Scope, Tenant
from domain.audit import SYSTEM_ACTOR, Actor, ActorKind
from domain.errors import ApiKeyNotFound, Unauthenticated
from domain.ids import ApiKeyId, TenantId, parse_uuid
from persistence.database import Database
from services.identifiers import new_uuid

KEY_PREFIX: Final = "trf_"
KEY_BYTES: Final = 32
"""Random bytes of a key: too many to guess, so that a plain fast hash protects it."""
SHOWN_PREFIX_LENGTH: Final = 10


class AccessService:
    """Makes and checks the keys with which tenants call the API."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create_key(
        self,
        *,
        tenant_name: str,
        name: str,
        scopes: frozenset[Scope],
        actor: Actor = SYSTEM_ACTOR,
    ) -> tuple[ApiKey, str]:
        """Make a key, and its tenant where there is none of that name.

        Returns
        -------
        tuple[ApiKey, str]
            The key's record, and the key itself, which cannot be read again.
        """
        secret = KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)
        async with self._database.transaction() as unit_of_work:
            tenant: Tenant = await unit_of_work.api_keys.ensure_tenant(
                TenantId(new_uuid()), tenant_name
            )
            key = await unit_of_work.api_keys.insert(
                key_id=ApiKeyId(new_uuid()),
                tenant_id=tenant.id,
                name=name,
                prefix=secret[:SHOWN_PREFIX_LENGTH],
                secret_hash=_hash(secret),
                scopes=scopes,
            )
            await unit_of_work.audit.record(
                actor,
                "api_key.create",
                tenant_id=tenant.id,
                subject_type="api_key",
                subject_id=key.id,
                details={"name": name, "scopes": sorted(scopes)},
            )
        return key, secret

    async def authenticate(
        self, secret: str, *, source_address: str | None = None, request_id: str | None = None
    ) -> Principal:
        """Tell whom a key belongs to.

        Parameters
        ----------
        source_address, request_id
            Of the request, for the audit log.

        Raises
        ------
        Unauthenticated
            There is no such key, or it was revoked.
        DatabaseUnavailable
            No connection.

        Notes
        -----
        Keys are found by their hash, so timing tells nothing of a key. Nothing is cached: a revoked
        key is refused from the next request on, in every process.
        """
        async with self._database.direct() as statements:
            grant = await statements.find_grant(_hash(secret))
        if grant is None:
            raise Unauthenticated("The API key is not valid.")
        return Principal(
            tenant_id=grant.tenant_id,
            api_key_id=grant.api_key_id,
            scopes=grant.scopes,
            actor=Actor(
                ActorKind.API_KEY, str(grant.api_key_id), grant.name, source_address, request_id
            ),
        )

    async def list_keys(self, tenant_name: str | None) -> list[ApiKey]:
        """Read all keys, of one tenant or of all, oldest first."""
        async with self._database.reading() as unit_of_work:
            return await unit_of_work.api_keys.page(tenant_name)

    async def revoke_key(
        self, key_id: str, *, actor: Actor = SYSTEM_ACTOR, reason: str | None = None
    ) -> ApiKey:
        """Revoke a key, for ever; revoking it again changes nothing.

        Raises
        ------
        ApiKeyNotFound
            There is no key with this id.
        """
        uuid = parse_uuid(key_id)
        if uuid is None:
            raise ApiKeyNotFound(key_id)
        async with self._database.transaction() as unit_of_work:
            key = await unit_of_work.api_keys.lock(uuid)
            if key is None:
                raise ApiKeyNotFound(key_id)
            if key.revoked_at is not None:
                return key
            await unit_of_work.audit.record(
                actor,
                "api_key.revoke",
                tenant_id=key.tenant_id,
                subject_type="api_key",
                subject_id=key.id,
                reason=reason,
            )
            return await unit_of_work.api_keys.revoke(key.id)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
