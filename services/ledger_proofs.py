"""The continuous proof of the invariants: slice by slice through the whole ledger, and again."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

from domain.ledger_seals import Seal
from persistence.database import Database
from persistence.proof_slices import SEALS_INVARIANT, WALKS, WALKS_OF_INVARIANT
from persistence.proofs import OpenViolation, WalkProgress
from services.ledger_seals import SEALING
from services.verification import INVARIANTS

SEALS_CHECK: Final = ("seals", "What is sealed of the ledger is what it was when it was sealed.")
CHECKS: Final[Mapping[int, tuple[str, str]]] = MappingProxyType(
    {**INVARIANTS, SEALS_INVARIANT: SEALS_CHECK}
)
"""Name and sentence of everything that is proved, by number."""


@dataclass(frozen=True, slots=True)
class ProofSliceReport:
    """What one slice of each walk found."""

    examined: int
    violations: int


@dataclass(frozen=True, slots=True)
class InvariantStatus:
    """What is known of one invariant.

    Parameters
    ----------
    proved_at
        When the whole ledger was last gone through for it; ``None`` before the first time.
    advanced_at
        When a slice was last proved.
    examined
        Rows that the last whole proof looked at.
    """

    invariant: int
    name: str
    description: str
    proved_at: datetime | None
    advanced_at: datetime | None
    examined: int
    violations: tuple[OpenViolation, ...]


@dataclass(frozen=True, slots=True)
class SealingStatus:
    """How far the ledger is sealed.

    Parameters
    ----------
    unsealed_entries
        Entries that the last look left; ``None`` before the first look.
    all_sealed_at
        When the last look left none.
    """

    newest: Seal | None
    unsealed_entries: int | None
    looked_at: datetime | None
    all_sealed_at: datetime | None


@dataclass(frozen=True, slots=True)
class LedgerStatus:
    """What the continuous proof knows."""

    invariants: tuple[InvariantStatus, ...]
    sealing: SealingStatus

    @property
    def is_clean(self) -> bool:
        """Whether no violation is known."""
        return not any(invariant.violations for invariant in self.invariants)


class LedgerProofService:
    """Proves the invariants continuously, and tells what is known of them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def prove_slices(self) -> ProofSliceReport:
        """Prove the next slice of every walk.

        Raises
        ------
        DatabaseUnavailable
            No connection; what was proved stays noted, and the next run goes on.

        Notes
        -----
        Each slice reads one snapshot and locks nothing. What it found is recorded in a transaction
        of its own, together with the walk's next position.
        """
        examined = violations = 0
        for name, prove in WALKS.items():
            async with self._database.transaction() as unit_of_work:
                walk = await unit_of_work.proofs.walk(name)
            async with self._database.snapshot() as snapshot:
                found = await prove(snapshot, walk.position)
            async with self._database.transaction() as unit_of_work:
                await unit_of_work.proofs.record(name, found.violations)
                await unit_of_work.proofs.advance(
                    walk, position=found.position, examined=found.examined
                )
            examined += found.examined
            violations += len(found.violations)
        return ProofSliceReport(examined, violations)

    async def status(self) -> LedgerStatus:
        """Tell what is known of every invariant, and how far the ledger is sealed.

        Raises
        ------
        DatabaseUnavailable
            No connection.
        """
        async with self._database.reading() as unit_of_work:
            progress = {walk.name: walk for walk in await unit_of_work.proofs.progress()}
            violations = await unit_of_work.proofs.open_violations()
            newest = await unit_of_work.seals.newest()
        sealing = progress.get(SEALING)
        return LedgerStatus(
            invariants=tuple(_status(number, progress, violations) for number in CHECKS),
            sealing=SealingStatus(
                newest=newest,
                unsealed_entries=sealing.remaining if sealing else None,
                looked_at=sealing.advanced_at if sealing else None,
                all_sealed_at=sealing.completed_at if sealing else None,
            ),
        )


def _status(
    invariant: int, progress: Mapping[str, WalkProgress], violations: list[OpenViolation]
) -> InvariantStatus:
    name, description = CHECKS[invariant]
    walks = [progress.get(walk) for walk in WALKS_OF_INVARIANT[invariant]]
    known = [walk for walk in walks if walk is not None]
    completed = [walk.completed_at for walk in known if walk.completed_at is not None]
    return InvariantStatus(
        invariant=invariant,
        name=name,
        description=description,
        # Several walks prove it together: it is as old as the oldest of them.
        proved_at=min(completed) if len(completed) == len(walks) else None,
        advanced_at=min((walk.advanced_at for walk in known), default=None),
        examined=sum(walk.completed_examined or 0 for walk in known),
        violations=tuple(found for found in violations if found.invariant == invariant),
    )
