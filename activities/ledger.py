"""The care for the whole ledger as Temporal activities."""

from typing import Final

from temporalio import activity

from activities.ledger_contracts import (
    LedgerCareSteps,
    ProofResult,
    ResolutionResult,
    SealingResult,
)
from services.idle_workflows import IdleWorkflowService
from services.ledger_proofs import LedgerProofService
from services.ledger_seals import SealService
from services.orphan_holds import OrphanHoldService

SEALING_SECONDS: Final = 20.0
"""After so long a run leaves the rest to the next one, well within its activity's time."""


class LedgerCareActivities(LedgerCareSteps):
    """Seals the ledger, proves it, and clears away what nobody else will."""

    def __init__(
        self,
        *,
        seals: SealService,
        proofs: LedgerProofService,
        orphan_holds: OrphanHoldService,
        idle_workflows: IdleWorkflowService,
    ) -> None:
        self._seals = seals
        self._proofs = proofs
        self._orphan_holds = orphan_holds
        self._idle_workflows = idle_workflows

    @activity.defn(name="seal_ledger")
    async def seal_ledger(self) -> SealingResult:
        """See ``LedgerCareSteps.seal_ledger``."""
        report = await self._seals.seal(seconds=SEALING_SECONDS)
        return SealingResult(report.seals, report.entries, report.unsealed)

    @activity.defn(name="resolve_leftovers")
    async def resolve_leftovers(self) -> ResolutionResult:
        """See ``LedgerCareSteps.resolve_leftovers``."""
        holds = await self._orphan_holds.close_slice()
        idle = await self._idle_workflows.end_idle()
        return ResolutionResult(
            holds_closed=holds.closed,
            holds_left=holds.left,
            workflows_ended=idle.asked if idle else 0,
        )

    @activity.defn(name="prove_ledger_slices")
    async def prove_ledger_slices(self) -> ProofResult:
        """See ``LedgerCareSteps.prove_ledger_slices``."""
        report = await self._proofs.prove_slices()
        return ProofResult(report.examined, report.violations)
