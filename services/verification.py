"""The seven invariants and the seals, proved."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from uuid import UUID

from domain.batches import TransferBatch
from domain.errors import BatchNotFound
from domain.ids import BatchId, TenantId
from domain.transfers import Transfer
from persistence.database import Database
from persistence.seal_proof import SealProofReader
from persistence.verification import PROVED_IN_SQL, Violation, prove
from services.batches import BatchService
from services.seal_verification import KnownSeal, SealProof, SealProver
from services.transactions import TransactionService
from services.workflow_census import ClosedStatus, OpenWorkflowIds, WorkflowCensus

SETTLING_SECONDS: Final = 5.0
"""A workflow ends a moment after its transfer, and the other way round: so long may that take."""
SETTLING_PAUSE_SECONDS: Final = 0.25

TENANT_ID_LENGTH: Final = 36

WORKFLOWS_INVARIANT: Final = 7
INVARIANTS: Final = MappingProxyType(
    {
        1: ("zero sum", "Per tenant and currency, all posted balances sum to zero."),
        2: ("balances", "Each balance is the sum of its entries and what its last one says."),
        3: ("sequences", "Sequences have no gap; each balance follows from the one before."),
        4: ("holds", "Holds sum to what accounts hold, and to what is used of their limits."),
        5: ("overdrafts", "No customer account is below its overdraft limit."),
        6: (
            "transfers",
            "SUCCESS has its entries, captures and reversals; FAILED has none and no open hold.",
        ),
        WORKFLOWS_INVARIANT: (
            "workflows",
            "PROCESSING transfers and batches have an open workflow; no others have.",
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Check:
    """The proof of one invariant.

    Parameters
    ----------
    examined
        How many rows or workflows were looked at.
    """

    invariant: int
    name: str
    description: str
    examined: int
    violations: tuple[Violation, ...]


@dataclass(frozen=True, slots=True)
class VerificationReport:
    """The proofs of all invariants, and of the seals."""

    checks: tuple[Check, ...]
    seals: SealProof

    @property
    def is_clean(self) -> bool:
        """Whether nothing is off."""
        return not (self.seals.violations or any(check.violations for check in self.checks))


class VerificationService:
    """Proves the invariants against the database and Temporal.

    Parameters
    ----------
    closed_status
        Tells how a workflow was closed; ``None`` while it is open.
    open_workflow_ids, open_batch_workflow_ids
        Go through the open workflows of transfers, and of batches.
    """

    def __init__(
        self,
        database: Database,
        transactions: TransactionService,
        batches: BatchService,
        *,
        closed_status: ClosedStatus,
        open_workflow_ids: OpenWorkflowIds,
        open_batch_workflow_ids: OpenWorkflowIds,
    ) -> None:
        self._database = database
        self._transactions = transactions
        self._batches = batches
        self._open_batch_workflow_ids = open_batch_workflow_ids
        self._closed_status = closed_status
        self._open_workflow_ids = open_workflow_ids

    async def verify(self, known: Sequence[KnownSeal] = ()) -> VerificationReport:
        """Prove all invariants and the seals; what the database has in one snapshot.

        Parameters
        ----------
        known
            Seals of checkpoints, which the chain must still have.

        Raises
        ------
        DatabaseUnavailable, TemporalUnavailable
            Nothing was proved.
        """
        checks: list[Check] = []
        async with self._database.snapshot() as snapshot:
            for invariant in PROVED_IN_SQL:
                proof = await prove(snapshot, invariant)
                checks.append(_check(invariant, proof.examined, proof.violations))
            seals = await SealProver(SealProofReader(snapshot), known).prove()
        checks.append(await self._workflows())
        return VerificationReport(tuple(checks), seals)

    async def _workflows(self) -> Check:
        examined = 0
        violations: list[Violation | None] = []
        census = WorkflowCensus(
            closed_status=self._closed_status, open_workflow_ids=self._open_workflow_ids
        )
        async for transfer in self._transactions.unfinished(idle_seconds=0):
            examined += 1
            violations.append(await self._orphan(census, transfer))
        async for workflow_id in self._open_workflow_ids():
            examined += 1
            violations.append(await self._idler(workflow_id))
        async for batch in self._batches.unfinished(idle_seconds=0):
            examined += 1
            violations.append(await self._orphan_batch(batch))
        async for workflow_id in self._open_batch_workflow_ids():
            examined += 1
            violations.append(await self._idle_batch(workflow_id))
        return _check(
            WORKFLOWS_INVARIANT, examined, [found for found in violations if found is not None]
        )

    async def _orphan(self, census: WorkflowCensus, transfer: Transfer) -> Violation | None:
        """Find out whether a PROCESSING transfer has no workflow to finish it."""
        status = await census.closed_status(transfer.workflow_id)
        if status is None:
            return None
        now = await self._transactions.get(transfer.tenant_id, transfer.id)
        if now.is_final:
            return None
        return Violation(f"transfer {transfer.id}", f"is {now.state}, and its workflow is {status}")

    async def _idler(self, workflow_id: str) -> Violation | None:
        """Find out whether a workflow stays open although its transfer is final."""
        tenant_id = TenantId(UUID(workflow_id[:TENANT_ID_LENGTH]))
        key = workflow_id[TENANT_ID_LENGTH + 1 :]
        transfer = await self._transactions.find_by_key(tenant_id, key)
        if transfer is None or not transfer.is_final:
            return None
        return await self._still_open(
            workflow_id, f"transfer {transfer.id}", f"is {transfer.state}"
        )

    async def _orphan_batch(self, batch: TransferBatch) -> Violation | None:
        """Find out whether an unfinished batch has no workflow to finish it."""
        status = await self._closed_status(batch.workflow_id)
        if status is None or (await self._batches.get(batch.tenant_id, batch.id)).is_final:
            return None
        return Violation(f"batch {batch.id}", f"is {batch.stage}, and its workflow is {status}")

    async def _idle_batch(self, workflow_id: str) -> Violation | None:
        """Find out whether a workflow stays open although its batch is final."""
        _, tenant_id, batch_id = workflow_id.split("/")
        try:
            batch = await self._batches.get(TenantId(UUID(tenant_id)), BatchId(UUID(batch_id)))
        except BatchNotFound:
            return None
        if not batch.is_final:
            return None
        return await self._still_open(workflow_id, f"batch {batch.id}", f"is {batch.stage}")

    async def _still_open(self, workflow_id: str, subject: str, state: str) -> Violation | None:
        """Give a workflow a moment to end."""
        deadline = asyncio.get_running_loop().time() + SETTLING_SECONDS
        while await self._closed_status(workflow_id) is None:
            if asyncio.get_running_loop().time() > deadline:
                return Violation(subject, f"{state}, and its workflow still runs")
            await asyncio.sleep(SETTLING_PAUSE_SECONDS)
        return None


def _check(invariant: int, examined: int, violations: Sequence[Violation]) -> Check:
    name, description = INVARIANTS[invariant]
    return Check(invariant, name, description, examined, tuple(violations))
