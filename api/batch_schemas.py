"""Bodies of requests and answers that are about batches."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints

from api.fields import Description
from api.schemas import RequestBody
from api.transfer_schemas import Dated, Movement
from api.transfer_views import FailureView
from domain.accounts import AccountReference
from domain.batches import BatchRow, BatchStage, RowStatus, StagedRow, TransferBatch
from domain.limits import BATCH_ROWS_MAXIMUM, IDEMPOTENCY_KEY_LENGTH_MAXIMUM
from domain.states import ProcessState
from domain.transfers import TransferType

RowKey = Annotated[
    str, StringConstraints(pattern=rf"^[!-~]{{1,{IDEMPOTENCY_KEY_LENGTH_MAXIMUM}}}$")
]


class BatchRowCreate(Movement, Dated):
    """A transfer of a batch, carried out with it, and the key that else stands in the header."""

    idempotency_key: RowKey

    def to_row(self, position: int) -> StagedRow:
        """Say it in the domain's words."""
        return StagedRow(
            position=position,
            idempotency_key=self.idempotency_key,
            type=self.type,
            source=_text(self.source),
            destination=_text(self.destination),
            amount_minor=self.amount,
            currency=self.currency,
            description=self.description,
            metadata=self.metadata,
            effective_at=self.effective_at,
        )


class BatchOptions(RequestBody):
    """What a batch asks for beside its rows."""

    atomic: StrictBool = False
    description: Description | None = None

    @staticmethod
    def named(**options: object) -> "BatchOptions":
        """Take what is named; ``None`` stands for an option that is not."""
        return BatchOptions.model_validate(
            {name: value for name, value in options.items() if value is not None}
        )


class BatchCreate(BatchOptions):
    """A batch as JSON."""

    transfers: Annotated[list[BatchRowCreate], Field(min_length=1, max_length=BATCH_ROWS_MAXIMUM)]


class BatchCountsView(BaseModel):
    """Rows by what became of them."""

    total: int
    pending: int
    succeeded: int
    replayed: int = Field(description="of those that succeeded: done before, nothing moved now")
    failed: int
    rejected: int
    cancelled: int


class BatchRowView(BaseModel):
    """A row and what became of it."""

    position: int
    idempotency_key: str
    type: TransferType
    source: str | None = Field(description="as the request names the account")
    destination: str | None
    amount: int
    currency: str
    description: str | None
    metadata: dict[str, Any]
    effective_at: datetime | None
    status: RowStatus
    code: str | None
    message: str | None
    transfer_id: UUID | None

    @staticmethod
    def of(row: BatchRow) -> "BatchRowView":
        """Show a row."""
        return BatchRowView(
            position=row.position,
            idempotency_key=row.idempotency_key,
            type=row.type,
            source=row.source,
            destination=row.destination,
            amount=row.amount_minor,
            currency=row.currency,
            description=row.description,
            metadata=dict(row.metadata),
            effective_at=row.effective_at,
            status=row.status,
            code=row.failure.code if row.failure else None,
            message=row.failure.message if row.failure else None,
            transfer_id=row.transfer_id,
        )


class BatchView(BaseModel):
    """A batch and how far it is."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    id: UUID
    idempotency_key: str
    workflow_id: str
    state: ProcessState
    stage: BatchStage
    atomic: bool
    description: str | None
    counts: BatchCountsView
    rows_per_second: float | None = Field(description="from its start, of rows with an outcome")
    failure: FailureView | None
    requested_by: UUID | None
    cancel_requested_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    updated_at: datetime
    completed_at: datetime | None

    @staticmethod
    def of(batch: TransferBatch) -> "BatchView":
        """Show a batch."""
        return BatchView(**_fields(batch))


class BatchDetailView(BatchView):
    """A batch, how far it is, and what was not moved."""

    codes: dict[str, int] = Field(description="rows that moved no money, by code")
    rejects: list[BatchRowView] = Field(description="the first of them")

    @staticmethod
    def with_rejects(
        batch: TransferBatch, codes: dict[str, int], rejects: list[BatchRow]
    ) -> "BatchDetailView":
        """Show a batch with its rejects."""
        return BatchDetailView(
            **_fields(batch), codes=codes, rejects=[BatchRowView.of(row) for row in rejects]
        )


def _fields(batch: TransferBatch) -> dict[str, Any]:
    counts, failure = batch.counts, batch.failure
    return {
        "id": batch.id,
        "idempotency_key": batch.idempotency_key,
        "workflow_id": batch.workflow_id,
        "state": batch.state,
        "stage": batch.stage,
        "atomic": batch.is_atomic,
        "description": batch.description,
        "counts": BatchCountsView(
            total=counts.total,
            pending=counts.pending,
            succeeded=counts.succeeded,
            replayed=counts.replayed,
            failed=counts.failed,
            rejected=counts.rejected,
            cancelled=counts.cancelled,
        ),
        "rows_per_second": _rate(batch),
        "failure": FailureView(code=failure.code, message=failure.message) if failure else None,
        "requested_by": batch.requested_by,
        "cancel_requested_at": batch.cancel_requested_at,
        "created_at": batch.created_at,
        "started_at": batch.started_at,
        "updated_at": batch.updated_at,
        "completed_at": batch.completed_at,
    }


def _rate(batch: TransferBatch) -> float | None:
    """Give rows a second, from the start of the first chunk to the end of the last one."""
    if batch.started_at is None:
        return None
    seconds = (batch.updated_at - batch.started_at).total_seconds()
    return round(batch.counts.settled / seconds, 1) if seconds > 0 else None


def _text(reference: AccountReference | None) -> str | None:
    """Write a reference; a UUID in its one canonical form."""
    if reference is None:
        return None
    return str(reference.id) if reference.id is not None else reference.text
