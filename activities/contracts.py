"""What workflows and activities say to each other. Nothing behind it touches SQL.

The payloads stand in Temporal's histories: fields may be added with a default, never renamed.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from temporalio import activity

from domain.audit import ActorKind
from domain.batches import BatchStage
from domain.operations import Operation
from domain.states import ProcessState, TransferStage
from domain.transfers import CaptureMode, TransferType


@dataclass(frozen=True, slots=True)
class LegInput:
    """One leg of a transfer with several."""

    source_account_id: UUID
    destination_account_id: UUID
    amount_minor: str
    currency: str


@dataclass(frozen=True, slots=True)
class TermsInput:
    """What a transfer is asked to do other than to move money between two accounts at once."""

    capture: CaptureMode = CaptureMode.AUTOMATIC
    expires_at: datetime | None = None
    hold_seconds: float | None = None
    execute_at: datetime | None = None
    legs: Sequence[LegInput] = ()
    reversal_of: UUID | None = None


@dataclass(frozen=True, slots=True)
class ActorInput:
    """Who asks for something, for the audit log."""

    kind: ActorKind
    id: str | None
    name: str
    source_address: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class TransferInput:
    """A checked order, as the workflow carries it.

    Parameters
    ----------
    fingerprint
        SHA-256 of the request, as hexadecimal digits.
    amount_minor
        Minor units as decimal digits: JSON readers round large numbers, and Temporal's UI is one.
    actor
        Who asked for it, and from where; ``None`` where nobody did, as for a standing order's run.
    """

    transfer_id: UUID
    tenant_id: UUID
    idempotency_key: str
    fingerprint: str
    type: TransferType
    source_account_id: UUID
    destination_account_id: UUID
    amount_minor: str
    currency: str
    description: str | None = None
    metadata: Mapping[str, Any] | None = None
    effective_at: datetime | None = None
    requested_by: UUID | None = None
    terms: TermsInput | None = None
    actor: ActorInput | None = None


@dataclass(frozen=True, slots=True)
class TransferKey:
    """Which transfer a step is about."""

    tenant_id: UUID
    transfer_id: UUID


@dataclass(frozen=True, slots=True)
class FailureDetails:
    """Why a transfer fails: a stable code and a sentence."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class CompensationInput:
    """Which transfer to bring to its right end, and why it did not get there by itself."""

    transfer: TransferKey
    failure: FailureDetails


@dataclass(frozen=True, slots=True)
class TransferProgress:
    """What the database says of a transfer after a step.

    Parameters
    ----------
    transfer_id
        The recorded transfer's. It is not the input's where the key was used for a transfer
        before.
    waits_until
        Until when the transfer rests for somebody or its time.
    """

    transfer_id: UUID
    state: ProcessState
    stage: TransferStage
    failure: FailureDetails | None = None
    waits_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class ExpiryInput:
    """Which transfer has rested until its time came."""

    transfer: TransferKey
    due_at: datetime


@dataclass(frozen=True, slots=True)
class OperationInput:
    """What is to be done to a transfer, as ``OperationOrder`` has it.

    Parameters
    ----------
    fingerprint, seen_fingerprint
        SHA-256, as hexadecimal digits.
    """

    transfer: TransferKey
    idempotency_key: str
    fingerprint: str
    operation: Operation
    requested_by: UUID
    amount_minor: str | None = None
    is_final: bool | None = None
    expires_at: datetime | None = None
    note: str | None = None
    seen_fingerprint: str | None = None
    actor: ActorInput | None = None


class TransferSteps(ABC):
    """The steps of a transfer. Each is one transaction, and repeats to the same result."""

    @activity.defn(name="reserve_funds")
    @abstractmethod
    async def reserve_funds(self, order: TransferInput) -> TransferProgress:
        """Record the transfer and hold its funds; a refused one is recorded as FAILED."""

    @activity.defn(name="post_entries")
    @abstractmethod
    async def post_entries(self, transfer: TransferKey) -> TransferProgress:
        """Move the reserved money; fails for good where an account no longer takes part."""

    @activity.defn(name="finalise")
    @abstractmethod
    async def finalise(self, transfer: TransferKey) -> TransferProgress:
        """Complete a posted transfer."""

    @activity.defn(name="compensate")
    @abstractmethod
    async def compensate(self, compensation: CompensationInput) -> TransferProgress:
        """Release what is reserved; complete what is posted. The database decides which."""


class RestingSteps(ABC):
    """What moves a transfer that rests: its time, or somebody. Each repeats to the same result."""

    @activity.defn(name="schedule")
    @abstractmethod
    async def schedule(self, order: TransferInput) -> TransferProgress:
        """Record a transfer that is to be carried out later."""

    @activity.defn(name="expire")
    @abstractmethod
    async def expire(self, expiry: ExpiryInput) -> TransferProgress:
        """End a transfer that nobody moved on in time."""

    @activity.defn(name="carry_out_operation")
    @abstractmethod
    async def carry_out_operation(self, operation: OperationInput) -> TransferProgress:
        """Capture, extend, cancel, approve or reject; refused for good where that cannot be."""


@dataclass(frozen=True, slots=True)
class ReconciliationReport:
    """What one run of the reconciliation found and did.

    Parameters
    ----------
    examined
        PROCESSING transfers that had not moved for a while.
    resolved
        Those among them that had no running workflow, and were brought to their right end.
    is_complete
        Whether all were examined in the run's time.
    """

    examined: int
    resolved: int
    is_complete: bool = True


class ReconciliationSteps(ABC):
    """The reconciliation of transfers with their workflows."""

    @activity.defn(name="resolve_abandoned_transfers")
    @abstractmethod
    async def resolve_abandoned_transfers(self) -> ReconciliationReport:
        """Find PROCESSING transfers whose workflow is closed or lost, and end them rightly."""


@dataclass(frozen=True, slots=True)
class BatchKey:
    """Which batch a step is about. Its rows stand in the database and never here."""

    tenant_id: UUID
    batch_id: UUID


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """What the database says of a batch after a step.

    Parameters
    ----------
    total
        Rows of the batch.
    position
        The last row that was looked at.
    settled
        Rows with an outcome.
    """

    state: ProcessState
    stage: BatchStage
    total: int
    position: int
    settled: int

    @property
    def is_final(self) -> bool:
        """Whether every row has its outcome."""
        return self.state is not ProcessState.PROCESSING


@dataclass(frozen=True, slots=True)
class StopInput:
    """Which batch to stop, and why."""

    batch: BatchKey
    failure: FailureDetails


class BatchSteps(ABC):
    """The steps of a batch. Each repeats to the same result."""

    @activity.defn(name="post_batch_chunks")
    @abstractmethod
    async def post_batch_chunks(self, batch: BatchKey) -> BatchProgress:
        """Post some chunks, each in one transaction; stops early where it is asked to."""

    @activity.defn(name="stop_batch")
    @abstractmethod
    async def stop_batch(self, stop: StopInput) -> BatchProgress:
        """Cancel the rows without an outcome; what is posted stays."""
