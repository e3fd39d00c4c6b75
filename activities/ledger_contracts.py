"""What the workflow that looks after the ledger and its activities say to each other.

As ``activities.contracts``: payloads stand in histories, and nothing behind it touches SQL.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from temporalio import activity


@dataclass(frozen=True, slots=True)
class SealingResult:
    """What was sealed, and how many entries were left for the next run."""

    seals: int
    entries: int
    unsealed: int


@dataclass(frozen=True, slots=True)
class ProofResult:
    """What a slice of each proof looked at, and what is off."""

    examined: int
    violations: int


@dataclass(frozen=True, slots=True)
class ResolutionResult:
    """What the reconciliation of holds and of open workflows did.

    Parameters
    ----------
    holds_closed, holds_left
        Holds of final transfers that were closed, and those without one right end.
    workflows_ended
        Open workflows of final transfers and batches that were asked to end.
    """

    holds_closed: int
    holds_left: int
    workflows_ended: int


@dataclass(frozen=True, slots=True)
class LedgerCareReport:
    """What one run did."""

    sealing: SealingResult
    resolution: ResolutionResult
    proof: ProofResult


class LedgerCareSteps(ABC):
    """What is done for the whole ledger, in the background. Each repeats without harm."""

    @activity.defn(name="seal_ledger")
    @abstractmethod
    async def seal_ledger(self) -> SealingResult:
        """Seal what has been posted since the last seal."""

    @activity.defn(name="resolve_leftovers")
    @abstractmethod
    async def resolve_leftovers(self) -> ResolutionResult:
        """Close holds without a living owner, and end workflows whose transfer is final."""

    @activity.defn(name="prove_ledger_slices")
    @abstractmethod
    async def prove_ledger_slices(self) -> ProofResult:
        """Prove the next slice of every invariant."""
