"""An API with encrypted payloads over a Temporal whose database file can be read."""

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from domain.access import Scope
from runtime.embedded_temporal import EmbeddedTemporal
from runtime.stack_files import throwaway_data_dir
from services.access import AccessService
from tests.support.api import Client
from tests.support.payloads import new_payload_key
from tests.support.served import ServedApi, served_api
from tests.support.stack import Stack
from workflows.search_attributes import SEARCH_ATTRIBUTE_NAMES


@dataclass(frozen=True, slots=True)
class EncryptedStack:
    """A Temporal of its own, and what an API needs to work with it."""

    stack: Stack
    temporal: EmbeddedTemporal
    access: AccessService
    keys: str

    @asynccontextmanager
    async def api(self, **environment: str) -> AsyncIterator[ServedApi]:
        """Serve the API, with the keys unless the environment says otherwise."""
        variables = {
            "PAYLOAD_KEYS": self.keys,
            "TEMPORAL_UI_URL": self.temporal.ui_url,
            **environment,
        }
        given = {name: value for name, value in variables.items() if value}
        async with served_api(self.stack, self.access, **given) as served:
            yield served

    async def client(
        self, opened: AsyncExitStack, served: ServedApi, scopes: frozenset[Scope] = frozenset(Scope)
    ) -> Client:
        """Give a client of a new tenant."""
        record, key = await self.access.create_key(
            tenant_name=secrets.token_hex(6), name="test", scopes=scopes
        )
        return await opened.enter_async_context(Client(served.url, key, record))

    def stored(self) -> bytes:
        """Read all that Temporal has on disk."""
        files = self.temporal.database.parent.glob(f"{self.temporal.database.name}*")
        return b"".join(path.read_bytes() for path in files)


@asynccontextmanager
async def encrypted_stack(
    database_url: str, access: AccessService
) -> AsyncIterator[EncryptedStack]:
    """Start a Temporal, over a migrated database of its own."""
    with throwaway_data_dir() as folder:
        temporal = EmbeddedTemporal(folder, search_attributes=SEARCH_ATTRIBUTE_NAMES)
        await temporal.start()
        try:
            stack = Stack(
                api_url="",
                database_url=database_url,
                temporal_address=temporal.address,
                temporal_namespace=temporal.namespace,
                temporal_ui_url=temporal.ui_url,
                logs=Path(folder) / "logs",
            )
            yield EncryptedStack(stack, temporal, access, new_payload_key("k1"))
        finally:
            await temporal.stop()
