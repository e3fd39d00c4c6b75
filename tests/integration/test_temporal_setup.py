"""A plain Temporal server gets by itself what transfers need."""

from temporalio.client import Client

from runtime.embedded_temporal import EmbeddedTemporal
from runtime.stack_files import throwaway_data_dir
from runtime.temporal import (
    RECONCILIATION_ID,
    STANDING_ORDER_RECONCILIATION_ID,
    connect,
    set_up_temporal,
)
from workflows.search_attributes import SEARCH_ATTRIBUTE_NAMES


async def finds(client: Client, attribute: str) -> int:
    return (await client.count_workflows(f"{attribute} = 'x'")).count


async def test_search_attributes_and_the_reconciliations_are_set_up_once() -> None:
    with throwaway_data_dir() as folder:
        server = EmbeddedTemporal(folder)
        await server.start()
        try:
            client = await connect(server.address, server.namespace)

            await set_up_temporal(client)
            await set_up_temporal(client)

            assert [await finds(client, name) for name in SEARCH_ATTRIBUTE_NAMES] == [0] * len(
                SEARCH_ATTRIBUTE_NAMES
            )
            for schedule_id in (RECONCILIATION_ID, STANDING_ORDER_RECONCILIATION_ID):
                schedule = await client.get_schedule_handle(schedule_id).describe()
                assert not schedule.schedule.state.paused
        finally:
            await server.stop()
