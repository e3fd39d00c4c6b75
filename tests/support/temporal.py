"""The Temporal server of a test run."""

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from temporalio.api.operatorservice.v1 import DeleteNamespaceRequest
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from runtime.embedded_temporal import EmbeddedTemporal
from runtime.stack_files import throwaway_data_dir
from runtime.temporal import ensure_search_attributes
from workflows.search_attributes import SEARCH_ATTRIBUTE_NAMES

NAMESPACE_SECONDS = 60.0
RETENTION = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class TemporalServer:
    """A namespace that belongs to this test run alone."""

    address: str
    namespace: str
    how: str
    ui_url: str | None = None


@asynccontextmanager
async def temporal_server() -> AsyncIterator[TemporalServer]:
    """Give a new namespace of the server that the surroundings name, or an embedded server."""
    address = os.environ.get("TEMPORAL_ADDRESS")
    if address:
        async with _new_namespace(address) as namespace:
            yield TemporalServer(address, namespace, "TEMPORAL_ADDRESS")
        return
    async with embedded_temporal() as server:
        yield TemporalServer(server.address, server.namespace, "embedded", server.ui_url)


@asynccontextmanager
async def embedded_temporal(**dynamic_config: Any) -> AsyncIterator[EmbeddedTemporal]:
    """Give an embedded server, to be set otherwise than the shared one or to be stopped."""
    with throwaway_data_dir() as folder:
        server = EmbeddedTemporal(
            folder, search_attributes=SEARCH_ATTRIBUTE_NAMES, dynamic_config=dynamic_config
        )
        await server.start()
        try:
            yield server
        finally:
            await server.stop()


@asynccontextmanager
async def _new_namespace(address: str) -> AsyncIterator[str]:
    """Make a namespace: workers of others listen on our task queues in theirs."""
    namespace = f"test-{secrets.token_hex(6)}"
    client = await Client.connect(address, namespace=namespace)
    retention = Duration()
    retention.FromTimedelta(RETENTION)
    await client.workflow_service.register_namespace(
        RegisterNamespaceRequest(namespace=namespace, workflow_execution_retention_period=retention)
    )
    try:
        await _wait_until_known(client)
        yield namespace
    finally:
        await client.operator_service.delete_namespace(DeleteNamespaceRequest(namespace=namespace))


async def _wait_until_known(client: Client) -> None:
    """Wait for the server's caches: it knows a new namespace and its attributes a little later."""
    deadline = time.monotonic() + NAMESPACE_SECONDS
    while True:
        try:
            await ensure_search_attributes(client, SEARCH_ATTRIBUTE_NAMES)
            await client.count_workflows(f"{SEARCH_ATTRIBUTE_NAMES[0]} = 'none'")
        except RPCError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.5)
        else:
            return
