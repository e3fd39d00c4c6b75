"""What the API tells of the proofs of the ledger and of its seals."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from domain.checkpoints import CHECKPOINT_FORMAT
from persistence.proofs import OpenViolation
from services.ledger_proofs import InvariantStatus, LedgerStatus, SealingStatus


class ViolationView(BaseModel):
    """One thing that is not as it must be."""

    subject: str = Field(description="Kind and id, as in `account 0199…`.")
    message: str
    first_seen_at: datetime
    last_seen_at: datetime

    @staticmethod
    def of(violation: OpenViolation) -> "ViolationView":
        """Show a violation."""
        return ViolationView(
            subject=violation.subject,
            message=violation.message,
            first_seen_at=violation.first_seen_at,
            last_seen_at=violation.last_seen_at,
        )


class ProofView(BaseModel):
    """What is known of one invariant."""

    invariant: int
    name: str
    description: str
    proved_at: datetime | None = Field(
        description="When the whole ledger was last gone through; null before the first time."
    )
    advanced_at: datetime | None = Field(description="When a slice was last looked at.")
    examined: int = Field(description="Rows that the last whole proof looked at.")
    violations: list[ViolationView]

    @staticmethod
    def of(status: InvariantStatus) -> "ProofView":
        """Show an invariant."""
        return ProofView(
            invariant=status.invariant,
            name=status.name,
            description=status.description,
            proved_at=status.proved_at,
            advanced_at=status.advanced_at,
            examined=status.examined,
            violations=[ViolationView.of(violation) for violation in status.violations],
        )


class SealingView(BaseModel):
    """How far the ledger is sealed."""

    newest_seal: int | None
    newest_hash: str | None
    sealed_at: datetime | None
    sealed_entries: int
    unsealed_entries: int | None = Field(
        description="Entries that the last look left unsealed; null before the first look."
    )
    looked_at: datetime | None
    all_sealed_at: datetime | None = Field(description="When the last look left none.")

    @staticmethod
    def of(sealing: SealingStatus) -> "SealingView":
        """Show how far the sealing is."""
        newest = sealing.newest
        return SealingView(
            newest_seal=newest.content.number if newest else None,
            newest_hash=newest.hash.hex() if newest else None,
            sealed_at=newest.content.sealed_at if newest else None,
            sealed_entries=newest.content.position if newest else 0,
            unsealed_entries=sealing.unsealed_entries,
            looked_at=sealing.looked_at,
            all_sealed_at=sealing.all_sealed_at,
        )


class ProofsView(BaseModel):
    """What the continuous proof of the ledger knows."""

    is_clean: bool = Field(description="No violation is known.")
    data: list[ProofView]
    sealing: SealingView

    @staticmethod
    def of(status: LedgerStatus) -> "ProofsView":
        """Show all proofs."""
        return ProofsView(
            is_clean=status.is_clean,
            data=[ProofView.of(invariant) for invariant in status.invariants],
            sealing=SealingView.of(status.sealing),
        )


class CheckpointView(BaseModel):
    """A checkpoint of the newest seal, as `transfers checkpoints verify` takes it."""

    format: Literal["durable-transfers/checkpoint/1"] = CHECKPOINT_FORMAT
    ledger: str = Field(description="Hash of the ledger's first seal.")
    seal: int
    hash: str
    position: int = Field(description="Entries that the seal and all before it cover.")
    sealed_at: str
    created_at: str
    signature: str | None = Field(
        description="Ed25519, in base64; null where the service has no key to sign with."
    )
