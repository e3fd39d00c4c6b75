"""Record the histories of the workflows that look after the others.

Done as ``tests.replay.record`` does it.

Run `python -m tests.replay.record_care`.
"""

from collections.abc import Mapping
from typing import Final

from temporalio.client import Client

from runtime.composition import Services
from runtime.temporal import make_worker
from tests.replay.record import run, write_history
from workflows.gateway import TransferGateway
from workflows.ledger_care import LedgerCareWorkflow
from workflows.reconciliation import ReconciliationWorkflow

TASK_QUEUE: Final = "care"
WORKFLOWS: Final[Mapping[str, type]] = {
    "reconciliation": ReconciliationWorkflow,
    "ledger-care": LedgerCareWorkflow,
}


async def record(services: Services, client: Client) -> None:
    """Run each once and write its history."""
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
        for name, workflow in WORKFLOWS.items():
            handle = await client.start_workflow(workflow.__name__, id=name, task_queue=TASK_QUEUE)
            await handle.result()
            await write_history(name, handle)


if __name__ == "__main__":
    run(record)
