"""API keys: made, rotated, limited, revoked. A secret is shown once, and only its hash stored."""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from domain.access import ApiKey, NewApiKey, Principal, RateLimit, Scope
from domain.audit import SYSTEM_ACTOR, Actor, Change
from domain.errors import (
    ApiKeyNotFound,
    ApiKeyOver,
    FieldProblem,
    RateNotHeld,
    ScopeNotHeld,
    ValidationFailed,
)
from domain.ids import ApiKeyId, TenantId, parse_uuid
from domain.limits import (
    KEY_OVERLAP_SECONDS_DEFAULT,
    REQUESTS_BURST_DEFAULT,
    REQUESTS_PER_SECOND_DEFAULT,
)
from domain.pages import Page
from persistence.database import Database, UnitOfWork
from services.authentication import KEY_PREFIX, hash_of
from services.identifiers import new_uuid

KEY_BYTES: Final = 32
"""Random bytes of a key: too many to guess, so that a plain fast hash protects it."""
SHOWN_PREFIX_LENGTH: Final = 10
DEFAULT_RATE: Final = RateLimit(REQUESTS_PER_SECOND_DEFAULT, REQUESTS_BURST_DEFAULT)
DEFAULT_OVERLAP: Final = timedelta(seconds=KEY_OVERLAP_SECONDS_DEFAULT)


class AccessService:
    """Looks after the keys with which tenants call the API.

    Notes
    -----
    Each change is one transaction under the key's lock, with its record in the audit log. A key is
    named by its id, and by a tenant where the caller sees no other's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create_key(
        self,
        *,
        tenant_name: str,
        name: str,
        scopes: frozenset[Scope],
        expires_at: datetime | None = None,
        rate: RateLimit | None = None,
        actor: Actor = SYSTEM_ACTOR,
    ) -> tuple[ApiKey, str]:
        """Make a key, and its tenant where there is none of that name.

        Returns
        -------
        tuple[ApiKey, str]
            The key's record, and the key itself, which cannot be read again.

        Raises
        ------
        ValidationFailed
            It would expire in the past.
        """
        new = NewApiKey(name, scopes, expires_at, rate)
        _require_ahead(new)
        async with self._database.transaction() as unit_of_work:
            tenant = await unit_of_work.api_keys.ensure_tenant(TenantId(new_uuid()), tenant_name)
            return await _insert(unit_of_work, tenant.id, new, Change("api_key.create", actor))

    async def create_for(
        self, maker: Principal, new: NewApiKey, *, reason: str | None
    ) -> tuple[ApiKey, str]:
        """Make a key of the maker's tenant, which can do no more than the maker itself.

        Returns
        -------
        tuple[ApiKey, str]
            As ``create_key``.

        Raises
        ------
        ScopeNotHeld
            It would have a scope that the maker lacks.
        RateNotHeld
            It would have a higher rate limit than the maker.
        ValidationFailed
            It would expire in the past.
        """
        _require_held(maker, new)
        _require_ahead(new)
        change = Change("api_key.create", maker.actor, reason)
        async with self._database.transaction() as unit_of_work:
            return await _insert(unit_of_work, maker.tenant_id, new, change)

    async def get(self, tenant_id: TenantId, key_id: ApiKeyId) -> ApiKey:
        """Read a key.

        Raises
        ------
        ApiKeyNotFound
            The tenant has no such key.
        """
        async with self._database.reading() as unit_of_work:
            key = await unit_of_work.api_keys.get(tenant_id, key_id)
        if key is None:
            raise ApiKeyNotFound(str(key_id))
        return key

    async def page(self, tenant_id: TenantId, *, after: UUID | None, limit: int) -> Page[ApiKey]:
        """Read a page of a tenant's keys, newest first, revoked ones and subjects among them."""
        async with self._database.reading() as unit_of_work:
            found = await unit_of_work.api_keys.page_of_tenant(
                tenant_id, after=after, limit=limit + 1
            )
        return Page.of(found, limit, lambda key: str(key.id))

    async def list_keys(self, tenant_name: str | None) -> list[ApiKey]:
        """Read all keys, of one tenant or of all, oldest first."""
        async with self._database.reading() as unit_of_work:
            return await unit_of_work.api_keys.page(tenant_name)

    async def rotate_key(
        self,
        key_id: str,
        *,
        overlap: timedelta = DEFAULT_OVERLAP,
        rotated_by: Principal | None = None,
        actor: Actor = SYSTEM_ACTOR,
        reason: str | None = None,
    ) -> tuple[ApiKey, str]:
        """Give a key another secret; the present one is taken too until the overlap's end.

        Parameters
        ----------
        overlap
            From 0, when the present secret ends at once, to ``KEY_OVERLAP_SECONDS_MAXIMUM``.
        rotated_by
            Who asks through the API: it rotates keys of its tenant that can do no more than itself,
            for it gets their new secret.

        Returns
        -------
        tuple[ApiKey, str]
            The key's record, and its new secret, which cannot be read again.

        Raises
        ------
        ApiKeyNotFound
            There is no key with this id, or it is another tenant's.
        ScopeNotHeld
            The key has a scope that the asking one lacks.
        ApiKeyOver
            It is revoked or has expired, or is a subject of an issuer, which has no secret.

        Notes
        -----
        The key stays the same one: it has the id, the scopes and the limits of before, and cannot
        approve what it has made. Of three secrets in a row the first ends with the second rotation.
        """
        secret = _new_secret()
        async with self._database.transaction() as unit_of_work:
            key = await _lock(unit_of_work, key_id, rotated_by)
            if rotated_by is not None and (lacking := key.scopes - rotated_by.scopes):
                raise ScopeNotHeld(sorted(lacking))
            _require_in_use(key, await unit_of_work.now())
            rotated = await unit_of_work.api_keys.rotate(
                key.id,
                prefix=secret[:SHOWN_PREFIX_LENGTH],
                secret_hash=hash_of(secret),
                overlap=overlap,
            )
            asked = Change("api_key.rotate", rotated_by.actor if rotated_by else actor, reason)
            details = {"overlap_seconds": int(overlap.total_seconds())}
            await _record(unit_of_work, key, asked, details)
        return rotated, secret

    async def limit_key(
        self,
        key_id: str,
        rate: RateLimit | None,
        *,
        actor: Actor = SYSTEM_ACTOR,
        reason: str | None = None,
    ) -> ApiKey:
        """Give a key a rate limit of its own, or with ``None`` that of all keys again.

        Raises
        ------
        ApiKeyNotFound
            There is no key with this id.
        """
        async with self._database.transaction() as unit_of_work:
            key = await _lock(unit_of_work, key_id, None)
            if key.rate == rate:
                return key
            details = {"from": _rate_details(key.rate), "to": _rate_details(rate)}
            await _record(unit_of_work, key, Change("api_key.limit", actor, reason), details)
            return await unit_of_work.api_keys.limit(key.id, rate)

    async def revoke_key(
        self,
        key_id: str,
        *,
        revoked_by: Principal | None = None,
        actor: Actor = SYSTEM_ACTOR,
        reason: str | None = None,
    ) -> ApiKey:
        """Revoke a key with all its secrets, or a subject, for ever.

        Revoking it again changes nothing.

        Parameters
        ----------
        revoked_by
            Who asks through the API: it revokes any key of its tenant, also one that can do more,
            for what has leaked must be stopped by whoever sees it.

        Raises
        ------
        ApiKeyNotFound
            There is no key with this id, or it is another tenant's.
        """
        async with self._database.transaction() as unit_of_work:
            key = await _lock(unit_of_work, key_id, revoked_by)
            if key.revoked_at is not None:
                return key
            asked = Change("api_key.revoke", revoked_by.actor if revoked_by else actor, reason)
            await _record(unit_of_work, key, asked, {})
            return await unit_of_work.api_keys.revoke(key.id)


async def _lock(unit_of_work: UnitOfWork, key_id: str, asker: Principal | None) -> ApiKey:
    uuid = parse_uuid(key_id)
    key = None if uuid is None else await unit_of_work.api_keys.lock(uuid)
    if key is None or (asker is not None and key.tenant_id != asker.tenant_id):
        raise ApiKeyNotFound(key_id)
    return key


async def _insert(
    unit_of_work: UnitOfWork, tenant_id: TenantId, new: NewApiKey, change: Change
) -> tuple[ApiKey, str]:
    secret = _new_secret()
    key = await unit_of_work.api_keys.insert(
        key_id=ApiKeyId(new_uuid()),
        tenant_id=tenant_id,
        new=new,
        prefix=secret[:SHOWN_PREFIX_LENGTH],
        secret_hash=hash_of(secret),
    )
    details: dict[str, Any] = {"name": new.name, "scopes": sorted(new.scopes)}
    if new.expires_at is not None:
        details["expires_at"] = new.expires_at.isoformat()
    if new.rate is not None:
        details["rate"] = _rate_details(new.rate)
    await _record(unit_of_work, key, change, details)
    return key, secret


async def _record(
    unit_of_work: UnitOfWork, key: ApiKey, change: Change, details: Mapping[str, Any]
) -> None:
    await unit_of_work.audit.record(
        change.actor,
        change.action,
        tenant_id=key.tenant_id,
        subject_type="api_key",
        subject_id=key.id,
        reason=change.reason,
        details=details,
    )


def _new_secret() -> str:
    return KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)


def _rate_details(rate: RateLimit | None) -> dict[str, int] | None:
    return None if rate is None else {"per_second": rate.per_second, "burst": rate.burst}


def _require_ahead(new: NewApiKey) -> None:
    if new.expires_at is not None and new.expires_at <= datetime.now(UTC):
        raise ValidationFailed([FieldProblem("expires_at", "past", "must lie in the future")])


def _require_held(maker: Principal, new: NewApiKey) -> None:
    if lacking := new.scopes - maker.scopes:
        raise ScopeNotHeld(sorted(lacking))
    own, given = maker.rate or DEFAULT_RATE, new.rate or DEFAULT_RATE
    if given.per_second > own.per_second or given.burst > own.burst:
        raise RateNotHeld(own.per_second, own.burst)


def _require_in_use(key: ApiKey, now: datetime) -> None:
    if key.subject is not None:
        raise ApiKeyOver("stands for a subject of an issuer")
    if key.revoked_at is not None:
        raise ApiKeyOver("is revoked")
    if key.expires_at is not None and key.expires_at <= now:
        raise ApiKeyOver("has expired")
