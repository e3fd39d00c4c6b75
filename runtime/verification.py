"""The proof of the invariants, put together for a command or a test."""

from collections.abc import Sequence

from persistence.seal_proof import SealProofReader
from persistence.verification import Violation
from runtime.composition import open_services
from runtime.settings import Settings
from runtime.temporal import TASK_QUEUE, connect_to
from runtime.temporal_access import TemporalAccess
from services.seal_verification import KnownSeal, SealProof, SealProver
from services.verification import (
    Check,
    VerificationReport,
    VerificationService,
)
from workflows.gateway import TransferGateway

__all__ = [
    "Check",
    "KnownSeal",
    "SealProof",
    "VerificationReport",
    "Violation",
    "verify",
    "verify_by",
    "verify_seals",
]


async def verify_by(settings: Settings) -> VerificationReport:
    """Prove the seven invariants against the servers that the settings name, as ``verify`` does."""
    return await _verify(settings.database_url.get_secret_value(), TemporalAccess.of(settings))


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
    access = TemporalAccess(address=temporal_address, namespace=temporal_namespace)
    return await _verify(database_url, access)


async def _verify(database_url: str, access: TemporalAccess) -> VerificationReport:
    async with open_services(database_url) as services:
        client = await connect_to(access)
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


async def verify_seals(database_url: str, known: Sequence[KnownSeal]) -> SealProof:
    """Prove the seals alone, against what checkpoints know of them.

    Raises
    ------
    StaleSchemaError
        The database is at another revision than this code.
    DatabaseUnavailable
        It cannot be reached; nothing was proved.
    """
    async with open_services(database_url) as services, services.database.snapshot() as snapshot:
        return await SealProver(SealProofReader(snapshot), known).prove()
