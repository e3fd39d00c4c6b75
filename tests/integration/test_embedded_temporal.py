import socket
import stat
from collections.abc import AsyncIterator

import httpx
import pytest
from temporalio.client import Client, WorkflowHandle
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError

from runtime.embedded_temporal import EmbeddedTemporal
from runtime.ports import PortTakenError, free_port
from runtime.stack_files import throwaway_data_dir
from tests.support.processes import alive

TENANT = SearchAttributeKey.for_keyword("StackTestTenant")
LONGEST_ID = 200


@pytest.fixture(scope="module")
async def temporal() -> AsyncIterator[EmbeddedTemporal]:
    with throwaway_data_dir() as folder:
        server = EmbeddedTemporal(
            folder,
            search_attributes=(TENANT.name,),
            dynamic_config={"limit.maxIDLength": LONGEST_ID},
        )
        await server.start()
        yield server
        await server.stop()


async def start_workflow(temporal: EmbeddedTemporal, workflow_id: str) -> WorkflowHandle[str, str]:
    client = await Client.connect(temporal.address)
    return await client.start_workflow(
        "Waiting",
        id=workflow_id,
        task_queue="nobody-listens",
        result_type=str,
        search_attributes=TypedSearchAttributes([SearchAttributePair(TENANT, "acme")]),
    )


async def known_workflows(temporal: EmbeddedTemporal, *names: str) -> set[str]:
    client = await Client.connect(temporal.address)
    return {(await client.get_workflow_handle(name).describe()).id for name in names}


async def test_it_takes_workflows_with_its_search_attributes_as_soon_as_it_is_ready(
    temporal: EmbeddedTemporal,
) -> None:
    handle = await start_workflow(temporal, "first")
    assert (await handle.describe()).typed_search_attributes[TENANT] == "acme"


async def test_its_ui_answers(temporal: EmbeddedTemporal) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        page = await client.get(f"{temporal.ui_url}/namespaces/default/workflows")
    assert page.status_code == 200


async def test_dynamic_configuration_reaches_the_server(temporal: EmbeddedTemporal) -> None:
    with pytest.raises(RPCError, match="exceeds maximum allowed length"):
        await start_workflow(temporal, "x" * (LONGEST_ID + 1))


async def test_workflows_outlive_a_kill_and_a_restart_on_the_same_port(
    temporal: EmbeddedTemporal,
) -> None:
    port = temporal.port
    await start_workflow(temporal, "before-kill")
    killed = temporal.pid
    await temporal.kill()
    assert alive([killed]) == []
    await temporal.start()
    await start_workflow(temporal, "before-restart")
    await temporal.restart()
    assert temporal.port == port
    names = {"before-kill", "before-restart"}
    assert await known_workflows(temporal, *names) == names


async def test_a_later_start_can_bring_a_further_search_attribute_and_namespace(
    temporal: EmbeddedTemporal,
) -> None:
    await temporal.stop()
    names = (TENANT.name, "StackTestStage")
    folder = temporal.database.parents[1]
    other = EmbeddedTemporal(folder, namespace="other", search_attributes=names)
    await other.start()
    await other.stop()
    await temporal.start()


async def test_its_database_is_for_its_owner_alone(temporal: EmbeddedTemporal) -> None:
    assert temporal.database.exists()
    assert stat.S_IMODE(temporal.database.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("option", ["--temporal-port", "--temporal-ui-port"])
async def test_a_taken_port_is_named_with_the_option_that_moves_it(
    temporal: EmbeddedTemporal, option: str
) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        ports = {"port": port} if option == "--temporal-port" else {"ui_port": port}
        with pytest.raises(PortTakenError, match=rf"Temporal.*:{port} .*{option}\b"):
            await EmbeddedTemporal(temporal.database.parents[1], **ports).start()
