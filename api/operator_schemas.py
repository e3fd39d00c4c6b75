"""Bodies of operators' requests and answers."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field, StrictBool, model_validator
from pydantic_core import PydanticCustomError

from api.fields import CurrencyCode, Note
from api.schemas import ListView, RequestBody
from api.transfer_views import PendingActivityView
from domain.ids import TenantId
from domain.limits import OPERATOR_ACTION_ITEMS_MAXIMUM
from domain.operator_actions import ActionOutcome, ActionResult
from domain.stuck import Judgement, OperatorAction, PendingStep, StuckCause, StuckKind
from persistence.stuck import StuckFilter


class ActionBody(RequestBody):
    """Why an operator does something."""

    reason: Note
    preview: StrictBool = Field(
        default=False, description="Tell what would happen; change nothing."
    )


class SelectionBody(RequestBody):
    """Which of what is stuck; of the fields, what is left out does not restrict, but for kind."""

    kind: StuckKind = StuckKind.TRANSFER
    tenant: UUID | None = None
    cause: StuckCause | None = None
    currency: CurrencyCode | None = None

    def to_filter(self) -> StuckFilter:
        """Say it in the words of the search."""
        return StuckFilter(
            tenant_id=None if self.tenant is None else TenantId(self.tenant),
            kind=self.kind,
            currency=self.currency,
        )


class BulkActionBody(ActionBody):
    """One thing to be done with several: those that are named, or those that are stuck."""

    action: OperatorAction
    ids: (
        Annotated[
            list[UUID],
            Field(
                min_length=1,
                max_length=OPERATOR_ACTION_ITEMS_MAXIMUM,
                description="Of transfers, batches, and standing orders: of an order, its oldest "
                "run that is under way is meant.",
            ),
        ]
        | None
    ) = None
    stuck: SelectionBody | None = None

    @model_validator(mode="after")
    def _is_one_selection(self) -> "BulkActionBody":
        if (self.ids is None) == (self.stuck is None):
            raise PydanticCustomError("missing", "give either ids or stuck")
        return self


class StuckView(BaseModel):
    """Something unfinished as operators see it."""

    kind: StuckKind
    id: UUID = Field(description="Of the transfer, the batch, or the standing order.")
    tenant_id: UUID
    tenant_name: str
    idempotency_key: str | None
    cause: StuckCause | None = Field(description="null where it is not stuck")
    explanation: str = Field(description="The cause in words.")
    stage: str
    since: datetime = Field(description="Of its last change, or of the end of its rest.")
    age_seconds: int
    attempts: int
    last_error: str | None
    amount: int | None = Field(description="Minor units; null for a batch, and before the record.")
    held_amount: int = Field(description="What it holds now, in minor units.")
    currency: str | None
    has_moved: bool = Field(description="Money has moved already, at least in part.")
    scheduled_at: datetime | None = Field(description="Of a standing order's run.")
    actions: list[OperatorAction] = Field(description="What can be done and would do something.")
    workflow_id: str
    workflow_status: str | None = Field(description="null where Temporal did not answer")
    pending_activities: list[PendingActivityView]
    temporal_ui_url: str | None

    @staticmethod
    def of(found: Judgement, url: str | None) -> "StuckView":
        """Show what was found."""
        candidate, sight = found.candidate, found.sight
        age = datetime.now(UTC) - candidate.since
        return StuckView(
            kind=candidate.kind,
            id=candidate.id,
            tenant_id=candidate.tenant_id,
            tenant_name=candidate.tenant_name,
            idempotency_key=candidate.idempotency_key,
            cause=found.cause,
            explanation=found.explanation,
            stage=candidate.stage,
            since=candidate.since,
            age_seconds=max(int(age.total_seconds()), 0),
            attempts=found.attempts,
            last_error=found.last_error,
            amount=candidate.amount_minor,
            held_amount=candidate.held_minor,
            currency=candidate.currency,
            has_moved=candidate.has_moved,
            scheduled_at=candidate.scheduled_at,
            actions=list(found.actions),
            workflow_id=candidate.workflow_id,
            workflow_status=sight.status if sight else None,
            pending_activities=[_pending(step) for step in sight.steps] if sight else [],
            temporal_ui_url=url,
        )


class StuckListView(ListView[StuckView]):
    """A page of what is stuck."""

    is_complete: bool = Field(
        description="false where Temporal did not answer, or has more open workflows than are "
        "read: then what the database does not show by itself may be missing."
    )


class ActionView(BaseModel):
    """What became of an action on a transfer, a batch, or a run of a standing order."""

    kind: StuckKind | None = Field(description="null where nothing has the id")
    id: UUID = Field(description="Of the transfer, the batch, or the standing order.")
    tenant_id: UUID | None
    action: OperatorAction
    outcome: ActionOutcome
    message: str
    code: str | None = Field(description="Of a refusal or a failure.")
    stage: str | None = Field(description="As the action met it.")
    cause: StuckCause | None = Field(description="Why it was stuck; null where it was not.")

    @staticmethod
    def of(result: ActionResult) -> "ActionView":
        """Show a result."""
        found = result.found
        return ActionView(
            kind=result.kind,
            id=result.id,
            tenant_id=result.tenant_id,
            action=result.action,
            outcome=result.plan.outcome,
            message=result.plan.message,
            code=result.plan.code,
            stage=None if found is None else found.candidate.stage,
            cause=None if found is None else found.cause,
        )


class BulkActionView(BaseModel):
    """What became of an action on several things."""

    preview: bool
    data: list[ActionView]
    has_more: bool = Field(description="More are stuck than one request acts on; send it again.")


def _pending(step: PendingStep) -> PendingActivityView:
    state = "STARTED" if step.is_running else "SCHEDULED"
    return PendingActivityView(
        name=step.name,
        state="PAUSED" if step.is_paused else state,
        attempt=step.attempt,
        last_failure=step.last_failure,
        next_attempt_at=step.next_attempt_at,
    )
