"""Sessions of the operators' console. Only a hash of a session's token is ever stored."""

import hashlib
import hmac
import secrets
from dataclasses import replace
from typing import Final

from domain.access import Principal, Tenant
from domain.audit import ActorKind
from domain.console_sessions import ConsoleSession
from domain.errors import SessionEnded, TenantNotFound
from persistence.database import Database, UnitOfWork
from persistence.tenancy import EVERY_TENANT

TOKEN_BYTES: Final = 32
"""Random bytes of a token: too many to guess, so that a plain fast hash protects it."""


class ConsoleSessionService:
    """Begins, finds and ends sessions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, principal: Principal) -> str:
        """Begin a session of somebody whose key or token is good.

        Returns
        -------
        str
            The session's token, which is kept nowhere else.

        Raises
        ------
        DatabaseUnavailable
            No connection.
        """
        token = secrets.token_urlsafe(TOKEN_BYTES)
        has_own_scopes = principal.actor.kind is ActorKind.OIDC
        async with self._database.transaction(EVERY_TENANT) as unit_of_work:
            await unit_of_work.console_sessions.insert(
                _hash(token),
                principal.api_key_id,
                principal.tenant_id,
                principal.scopes if has_own_scopes else None,
            )
            await _record(unit_of_work, principal, "console_session.begin")
        return token

    async def find(self, token: str, *, is_use: bool) -> ConsoleSession:
        """Read a session.

        Parameters
        ----------
        is_use
            Whether somebody asked, and not a page that updates itself.

        Raises
        ------
        SessionEnded
            It was ended, its time is over, or its key was revoked.
        DatabaseUnavailable
            No connection.

        Notes
        -----
        Nothing is cached: a session ends with its key, in every process.
        """
        token_hash = _hash(token)
        async with self._database.reading(EVERY_TENANT) as unit_of_work:
            session = await unit_of_work.console_sessions.find(token_hash)
            if session is None or not hmac.compare_digest(session.token_hash, token_hash):
                raise SessionEnded
            if is_use:
                await unit_of_work.console_sessions.touch(token_hash)
        return session

    async def view(
        self, token: str, session: ConsoleSession, principal: Principal, tenant_id: str
    ) -> None:
        """Let an operator's session look at another tenant; the audit log says so.

        Raises
        ------
        TenantNotFound
            There is no such tenant, or the session may not look at it.
        """
        tenant = next((t for t in await self.tenants(session) if str(t.id) == tenant_id), None)
        if tenant is None:
            raise TenantNotFound(tenant_id)
        async with self._database.transaction(EVERY_TENANT) as unit_of_work:
            await unit_of_work.console_sessions.view(_hash(token), tenant.id)
            seen = replace(principal, tenant_id=tenant.id)
            await _record(unit_of_work, seen, "console_session.view")

    async def tenants(self, session: ConsoleSession) -> list[Tenant]:
        """Read the tenants that a session may look at, by their names."""
        if not session.is_operator:
            return [Tenant(session.key.tenant_id, session.key.tenant_name)]
        async with self._database.reading(EVERY_TENANT) as unit_of_work:
            return await unit_of_work.api_keys.all_tenants()

    async def end(self, token: str, principal: Principal | None = None) -> None:
        """End a session; one that has ended stays so.

        Parameters
        ----------
        principal
            Who logs out, for the audit log; nobody where another login takes its place.
        """
        async with self._database.transaction(EVERY_TENANT) as unit_of_work:
            await unit_of_work.console_sessions.delete(_hash(token))
            if principal is not None:
                await _record(unit_of_work, principal, "console_session.end")


async def _record(unit_of_work: UnitOfWork, principal: Principal, action: str) -> None:
    await unit_of_work.audit.record(
        principal.actor,
        action,
        tenant_id=principal.tenant_id,
        subject_type="api_key",
        subject_id=principal.api_key_id,
    )


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
