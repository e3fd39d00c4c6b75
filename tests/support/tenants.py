"""New tenants with their keys."""

import secrets
from collections.abc import Iterable
from contextlib import AsyncExitStack

from domain.access import Scope
from services.access import AccessService
from tests.support.api import Client


class TenantMaker:
    """Makes tenants and keys on the database, and clients that call with them."""

    def __init__(self, api_url: str, access: AccessService, clients: AsyncExitStack) -> None:
        self._api_url = api_url
        self._access = access
        self._clients = clients

    async def __call__(self, name: str | None = None, *, scopes: Iterable[Scope] = Scope) -> Client:
        """Give a client with a new key of a tenant; of a new tenant, unless one is named."""
        key, secret = await self._access.create_key(
            tenant_name=name or f"tenant-{secrets.token_hex(6)}",
            name="test",
            scopes=frozenset(scopes),
        )
        return await self._clients.enter_async_context(Client(self._api_url, secret, key))
