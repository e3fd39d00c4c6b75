"""What clients read of transfers."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from domain.states import ProcessState, Step, TransferStage
from domain.transfers import (
    CaptureMode,
    Leg,
    Transfer,
    TransferEvent,
    TransferType,
)
from workflows.gateway import LiveWorkflow


class FailureView(BaseModel):
    """Why a transfer failed."""

    code: str
    message: str


class LegView(BaseModel):
    """One movement of money within a transfer."""

    source: UUID
    destination: UUID
    amount: int
    currency: str

    @staticmethod
    def of(leg: Leg) -> "LegView":
        """Show a leg."""
        return LegView(
            source=leg.source_account_id,
            destination=leg.destination_account_id,
            amount=leg.money.amount_minor,
            currency=leg.money.currency,
        )


class TransferView(BaseModel):
    """A transfer."""

    id: UUID
    idempotency_key: str
    workflow_id: str
    type: TransferType
    state: ProcessState
    stage: TransferStage
    source: UUID
    destination: UUID
    amount: int
    currency: str
    description: str | None
    metadata: dict[str, Any]
    failure: FailureView | None
    reversal_of: UUID | None
    capture: CaptureMode
    captured_amount: int = Field(description="What has moved so far.")
    reversed_amount: int = Field(description="What reversals take back, unfinished ones included.")
    expires_at: datetime | None = Field(description="When a hold with manual capture ends.")
    execute_at: datetime | None
    approvals_required: int | None
    approval_deadline_at: datetime | None
    legs: list[LegView] | None = Field(
        description="All movements where there are several; the transfer's own source, "
        "destination, amount and currency are those of the first."
    )
    fingerprint: str = Field(description="SHA-256 of what was asked for; approvals can name it.")
    requested_by: UUID | None = Field(description="The API key that asked for it.")
    effective_at: datetime
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None
    batch_id: UUID | None = Field(description="the batch that made it, where one did")

    @staticmethod
    def of(transfer: Transfer) -> "TransferView":
        """Show a transfer."""
        failure = transfer.failure
        return TransferView(
            id=transfer.id,
            idempotency_key=transfer.idempotency_key,
            workflow_id=transfer.workflow_id,
            type=transfer.type,
            state=transfer.state,
            stage=transfer.stage,
            source=transfer.source_account_id,
            destination=transfer.destination_account_id,
            amount=transfer.money.amount_minor,
            currency=transfer.money.currency,
            description=transfer.description,
            metadata=dict(transfer.metadata),
            failure=FailureView(code=failure.code, message=failure.message) if failure else None,
            reversal_of=transfer.reversal_of,
            capture=transfer.capture,
            captured_amount=transfer.moved_minor,
            reversed_amount=transfer.reversed_minor,
            expires_at=transfer.expires_at,
            execute_at=transfer.execute_at,
            approvals_required=transfer.approvals_required,
            approval_deadline_at=transfer.approval_deadline_at,
            legs=[LegView.of(leg) for leg in transfer.more_legs] or None,
            fingerprint=transfer.fingerprint.hex(),
            requested_by=transfer.requested_by,
            effective_at=transfer.effective_at,
            created_at=transfer.created_at,
            updated_at=transfer.updated_at,
            completed_at=transfer.completed_at,
            batch_id=transfer.batch_id,
        )


class EventView(BaseModel):
    """One change of a transfer's stage."""

    sequence: int
    step: Step
    stage: TransferStage
    cause: str | None
    details: dict[str, Any] | None
    occurred_at: datetime

    @staticmethod
    def of(event: TransferEvent) -> "EventView":
        """Show an event."""
        return EventView(
            sequence=event.sequence,
            step=event.step,
            stage=event.stage,
            cause=event.cause,
            details=dict(event.details) if event.details else None,
            occurred_at=event.occurred_at,
        )


class PendingActivityView(BaseModel):
    """An activity that Temporal is trying."""

    name: str
    state: str
    attempt: int
    last_failure: str | None
    next_attempt_at: datetime | None


class WorkflowView(BaseModel):
    """The workflow of a transfer, live from Temporal."""

    workflow_id: str
    run_id: str | None
    status: str = Field(description="Temporal's status, or NOT_FOUND once it was deleted")
    stage: str | None = Field(description="the workflow's own answer; null where none came")
    started_at: datetime | None
    closed_at: datetime | None
    history_length: int
    pending_activities: list[PendingActivityView]
    temporal_ui_url: str | None

    @staticmethod
    def of(workflow_id: str, live: LiveWorkflow | None, url: str | None) -> "WorkflowView":
        """Show a workflow, also one that Temporal no longer keeps."""
        if live is None:
            return WorkflowView(
                workflow_id=workflow_id,
                run_id=None,
                status="NOT_FOUND",
                stage=None,
                started_at=None,
                closed_at=None,
                history_length=0,
                pending_activities=[],
                temporal_ui_url=None,
            )
        return WorkflowView(
            workflow_id=workflow_id,
            run_id=live.run_id,
            status=live.status,
            stage=live.stage,
            started_at=live.started_at,
            closed_at=live.closed_at,
            history_length=live.history_length,
            pending_activities=[
                PendingActivityView(
                    name=pending.name,
                    state=pending.state,
                    attempt=pending.attempt,
                    last_failure=pending.last_failure,
                    next_attempt_at=pending.next_attempt_at,
                )
                for pending in live.pending_activities
            ],
            temporal_ui_url=url,
        )
