"""Batches: many transfers under one key, posted in their order, some hundreds in a transaction."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from domain.accounts import AccountReference
from domain.audit import SYSTEM_ACTOR, Actor
from domain.ids import ApiKeyId, BatchId, TenantId, TransferId, batch_workflow_id
from domain.money import Money
from domain.states import ProcessState
from domain.transfers import Failure, TransferRequest, TransferType


class BatchStage(StrEnum):
    """How far a batch has come."""

    STAGED = "STAGED"
    """All rows are recorded; none is posted yet."""
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    """Every row has its outcome."""
    CANCELLED = "CANCELLED"
    """Stopped between two chunks: what is posted stays, the other rows never will be."""
    REJECTED = "REJECTED"
    """An atomic batch of which a row would fail: nothing is posted."""


class RowStatus(StrEnum):
    """What became of a row."""

    PENDING = "PENDING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    """A transfer is recorded as FAILED."""
    REJECTED = "REJECTED"
    """No transfer is recorded, and the row's key is not used up."""
    CANCELLED = "CANCELLED"


class ResultFormat(StrEnum):
    """How a result is written."""

    CSV = "csv"
    NDJSON = "ndjson"


_STATE_OF_STAGE: Final = MappingProxyType(
    {
        BatchStage.STAGED: ProcessState.PROCESSING,
        BatchStage.RUNNING: ProcessState.PROCESSING,
        BatchStage.COMPLETED: ProcessState.SUCCESS,
        BatchStage.CANCELLED: ProcessState.FAILED,
        BatchStage.REJECTED: ProcessState.FAILED,
    }
)


def state_of_batch(stage: BatchStage) -> ProcessState:
    """Tell the state that a batch's stage belongs to."""
    return _STATE_OF_STAGE[stage]


@dataclass(frozen=True, slots=True)
class BatchOrder:
    """A batch as a client asks for it, without its rows.

    Parameters
    ----------
    fingerprint
        SHA-256 over what all rows ask for, in their order.
    rows
        How many there are.
    requested_by
        The API key of the request.
    actor
        Who asks for it, for the audit log.
    """

    id: BatchId
    tenant_id: TenantId
    idempotency_key: str
    fingerprint: bytes
    is_atomic: bool
    description: str | None
    rows: int
    requested_by: ApiKeyId
    actor: Actor = SYSTEM_ACTOR


@dataclass(frozen=True, slots=True)
class RowCounts:
    """How many rows have come to which outcome.

    Parameters
    ----------
    replayed
        Among those that succeeded, the rows whose key stood for a transfer before: nothing moved.
    """

    total: int
    succeeded: int = 0
    replayed: int = 0
    failed: int = 0
    rejected: int = 0
    cancelled: int = 0

    @property
    def settled(self) -> int:
        """Rows with an outcome."""
        return self.succeeded + self.failed + self.rejected + self.cancelled

    @property
    def pending(self) -> int:
        """Rows without one."""
        return self.total - self.settled


@dataclass(frozen=True, slots=True)
class TransferBatch:
    """A batch as it is recorded.

    Parameters
    ----------
    position
        The last row that was looked at; rows count from 1.
    """

    id: BatchId
    tenant_id: TenantId
    idempotency_key: str
    fingerprint: bytes
    is_atomic: bool
    description: str | None
    stage: BatchStage
    failure: Failure | None
    counts: RowCounts
    position: int
    requested_by: ApiKeyId | None
    cancel_requested_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    updated_at: datetime
    completed_at: datetime | None

    @property
    def state(self) -> ProcessState:
        """The state that the stage belongs to."""
        return state_of_batch(self.stage)

    @property
    def is_final(self) -> bool:
        """Whether every row has its outcome, for ever."""
        return self.state is not ProcessState.PROCESSING

    @property
    def workflow_id(self) -> str:
        """ID of the workflow that carries the batch out."""
        return batch_workflow_id(self.tenant_id, self.id)


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A row of a batch: what it asks for, and what became of it.

    Parameters
    ----------
    position
        Its place in the batch, from 1.
    transfer_id
        The transfer that its key stands for; it need not be made by this batch.
    """

    position: int
    idempotency_key: str
    type: TransferType
    source: str | None
    destination: str | None
    amount_minor: int
    currency: str
    description: str | None
    metadata: Mapping[str, Any]
    effective_at: datetime | None
    status: RowStatus
    failure: Failure | None
    transfer_id: TransferId | None


class StagedRow(NamedTuple):
    """What a row of a batch asks for: ``BatchRow`` without what became of it."""

    # A tuple and not a dataclass, which takes four times as long: every row of every batch is one.
    position: int
    idempotency_key: str
    type: str
    source: str | None
    destination: str | None
    amount_minor: int
    currency: str
    description: str | None
    metadata: Mapping[str, Any] | None
    effective_at: datetime | None


def request_of(row: BatchRow | StagedRow) -> TransferRequest:
    """Give the request that a row stands for."""
    return TransferRequest(
        idempotency_key=row.idempotency_key,
        type=TransferType(row.type),
        source=reference_in(row.source),
        destination=reference_in(row.destination),
        money=Money(row.amount_minor, row.currency),
        description=row.description,
        metadata=row.metadata or {},
        effective_at=row.effective_at,
    )


def reference_in(text: str | None) -> AccountReference | None:
    """Read how a row names an account; ``None`` stands for the settlement account."""
    return None if text is None else AccountReference.parse(text)
