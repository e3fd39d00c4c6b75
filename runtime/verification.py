"""The proof of the invariants, put together for a command or a test."""

from persistence.verification import Violation
from runtime.composition import open_services
from runtime.temporal import TASK_QUEUE, connect
from services.verification import (
    Check,
    VerificationReport,
    VerificationService,
)
from workflows.gateway import TransferGateway

__all__ = ["Check", "VerificationReport", "Violation", "verify"]


async def verify(
    database_url: str, *, temporal_address: str, temporal_namespace: str
) -> VerificationReport:
    """Prove the seven invariants against a database and its Temporal.

    Raises
    ------
    StaleSchemaError
        The database is at another revision than this code.
    DatabaseUnavailable, TemporalUnavailable
        A server cannot be reached; nothing was proved.
    """
    async with open_services(database_url) as services:
        client = await connect(temporal_address, temporal_namespace)
        gateway = TransferGateway(client, task_queue=TASK_QUEUE)
        verification = VerificationService(
            services.database,
            services.transactions,
            services.batches,
            closed_status=gateway.closed_status,
            open_workflow_ids=gateway.open_workflow_ids,
            open_batch_workflow_ids=gateway.open_batch_workflow_ids,
        )
        return await verification.verify()
