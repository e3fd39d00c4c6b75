"""Record the history of the care for the ledger, as ``tests.replay.record`` does.

Run `python -m tests.replay.record_ledger_care`.
"""

from temporalio.client import Client

from runtime.composition import Services
from runtime.temporal import make_worker
from tests.replay.record import run, write_history
from workflows.gateway import TransferGateway
from workflows.ledger_care import LedgerCareWorkflow

TASK_QUEUE = "ledger-care"


async def record(services: Services, client: Client) -> None:
    """Run it once and write its history."""
    worker = make_worker(
        client,
        transactions=services.transactions,
        operations=services.operations,
        standing_orders=services.standing_orders,
        standing_order_runs=services.standing_order_runs,
        batches=services.batches,
        batch_posting=services.batch_posting,
        database=services.database,
        gateway=TransferGateway(client, task_queue=TASK_QUEUE),
        task_queue=TASK_QUEUE,
    )
    async with worker:
        handle = await client.start_workflow(
            LedgerCareWorkflow.run, id="ledger-care", task_queue=TASK_QUEUE
        )
        await handle.result()
        await write_history("ledger-care", handle)


if __name__ == "__main__":
    run(record)
