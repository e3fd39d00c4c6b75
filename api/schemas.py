"""Bodies of requests and answers."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Generic, Literal, TypeAlias, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from api.fields import (
    AccountName,
    Amount,
    CurrencyCode,
    Description,
    ExternalId,
    HoldSeconds,
    Metadata,
    Moment,
    Name,
    Note,
    OverdraftLimit,
)
from domain.accounts import Account, AccountKind, AccountStatus, BalanceAsOf, User
from domain.errors import FieldProblem, ValidationFailed
from domain.ids import TransferId
from domain.ledger import EntryDirection, LedgerEntry
from domain.limits import LEGS_MAXIMUM
from domain.money import Money
from domain.states import ProcessState, Step, TransferStage
from domain.transfers import (
    CaptureMode,
    Leg,
    LegRequest,
    ReversalRequest,
    Transfer,
    TransferEvent,
    TransferRequest,
    TransferType,
)
from workflows.gateway import LiveWorkflow

ONE_LEG: Final = "one_leg"
SEVERAL_LEGS: Final = "several_legs"

Item = TypeVar("Item")


class RequestBody(BaseModel):
    """Base of what clients send: a field that is not known is an error, not silence."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ChangeBody(RequestBody):
    """Why something is changed. It stands in the audit log."""

    reason: Note | None = None

    @staticmethod
    def reason_of(body: "ChangeBody | None") -> str | None:
        """Give the reason, where there is one."""
        return body.reason if body else None


class UserCreate(RequestBody):
    """A user to be recorded."""

    name: Name
    external_id: ExternalId | None = None
    metadata: Metadata = Field(default_factory=dict)


class AccountCreate(RequestBody):
    """An account to be opened."""

    user_id: UUID
    currency: CurrencyCode
    external_id: ExternalId | None = None
    overdraft_limit: OverdraftLimit = 0
    metadata: Metadata = Field(default_factory=dict)


class AccountChange(ChangeBody):
    """What of an account is to change; what is left out stays."""

    overdraft_limit: OverdraftLimit | None = None
    metadata: Metadata | None = None


class LegCreate(RequestBody):
    """One movement of money within a transfer."""

    source: AccountName
    destination: AccountName
    amount: Amount
    currency: CurrencyCode

    def to_request(self) -> LegRequest:
        """Say it in the domain's words."""
        return LegRequest(self.source, self.destination, Money(self.amount, self.currency))


class Notes(RequestBody):
    """What a client may say of its own about a movement of money."""

    description: Description | None = None
    metadata: Metadata = Field(default_factory=dict)


class Movement(Notes):
    """Money between two accounts: what a transfer, a row of a batch and a standing order share."""

    type: Literal[TransferType.INTERNAL, TransferType.DEPOSIT, TransferType.WITHDRAWAL] = (
        TransferType.INTERNAL
    )
    source: AccountName | None = Field(
        default=None, description="Left out of a DEPOSIT: the money comes from settlement."
    )
    destination: AccountName | None = Field(
        default=None, description="Left out of a WITHDRAWAL: the money goes to settlement."
    )
    amount: Amount
    currency: CurrencyCode


class Dated(RequestBody):
    """When money counts that moves now."""

    effective_at: Moment | None = Field(
        default=None, description="When the money counts; the moment of recording by default."
    )


class Timed(Dated):
    """When to move money, and when it counts."""

    execute_at: Moment | None = Field(
        default=None,
        description="When to carry it out, at most 366 days ahead; funds are checked then.",
    )


class TransferCreate(Movement, Timed):
    """Money to be moved."""

    capture: CaptureMode = Field(
        default=CaptureMode.AUTOMATIC,
        description="manual: hold the money now, and move it by captures later.",
    )
    expires_at: Moment | None = Field(
        default=None, description="When a hold with manual capture ends; at most 31 days ahead."
    )
    expires_in_seconds: HoldSeconds | None = Field(
        default=None, description="The same, from the reserve on. 7 days where both are left out."
    )

    def to_request(self, idempotency_key: str) -> TransferRequest:
        """Say it in the domain's words.

        Raises
        ------
        ValidationFailed
            Fields that only a manual capture has, or both of two that exclude each other.
        """
        problems = list(_misfits(self))
        if problems:
            raise ValidationFailed(problems)
        seconds = self.expires_in_seconds
        return TransferRequest(
            idempotency_key=idempotency_key,
            type=TransferType(self.type),
            source=self.source,
            destination=self.destination,
            money=Money(self.amount, self.currency),
            description=self.description,
            metadata=self.metadata,
            effective_at=self.effective_at,
            capture=self.capture,
            expires_at=self.expires_at,
            hold_for=None if seconds is None else timedelta(seconds=seconds),
            execute_at=self.execute_at,
        )


class LegsCreate(Notes, Timed):
    """Money to be moved along several legs: all of them, or none."""

    type: Literal[TransferType.INTERNAL] = TransferType.INTERNAL
    legs: Annotated[list[LegCreate], Field(min_length=2, max_length=LEGS_MAXIMUM)] = Field(
        description="Entries follow this order; funds are checked net per account over all legs."
    )

    def to_request(self, idempotency_key: str) -> TransferRequest:
        """Say it in the domain's words; the first leg's sides and money are the transfer's."""
        legs = tuple(leg.to_request() for leg in self.legs)
        return TransferRequest(
            idempotency_key=idempotency_key,
            type=TransferType(self.type),
            source=legs[0].source,
            destination=legs[0].destination,
            money=legs[0].money,
            description=self.description,
            metadata=self.metadata,
            effective_at=self.effective_at,
            execute_at=self.execute_at,
            legs=legs,
        )


def _shape_of(body: Any) -> str:
    return SEVERAL_LEGS if isinstance(body, dict) and "legs" in body else ONE_LEG


TransferBody: TypeAlias = Annotated[
    Annotated[TransferCreate, Tag(ONE_LEG)] | Annotated[LegsCreate, Tag(SEVERAL_LEGS)],
    Discriminator(_shape_of),
]
"""What creates a transfer; the tags show up in the locations of errors, and are taken out there."""


def _misfits(body: TransferCreate) -> Iterator[FieldProblem]:
    """Find fields that do not go together."""
    if body.capture is CaptureMode.MANUAL:
        if body.expires_at is not None and body.expires_in_seconds is not None:
            yield FieldProblem(
                "expires_in_seconds", "not_allowed", "must be left out beside expires_at"
            )
        if body.effective_at is not None:
            yield FieldProblem(
                "effective_at",
                "not_allowed",
                "must be left out of a manual capture: each capture counts from its own moment",
            )
        return
    for field in ("expires_at", "expires_in_seconds"):
        if getattr(body, field) is not None:
            yield FieldProblem(field, "not_allowed", "is only for a transfer with capture manual")


class ReversalCreate(RequestBody):
    """Money to be taken back along a transfer."""

    amount: Amount | None = Field(
        default=None, description="All that is not reversed yet where left out."
    )
    reason: Description | None = None
    metadata: Metadata = Field(default_factory=dict)

    def to_request(self, idempotency_key: str, transfer_id: TransferId) -> ReversalRequest:
        """Say it in the domain's words."""
        return ReversalRequest(
            idempotency_key, transfer_id, self.amount, self.reason, self.metadata
        )


class ListView(BaseModel, Generic[Item]):
    """A page of a list."""

    data: list[Item]
    next_cursor: str | None


class UserView(BaseModel):
    """A user."""

    id: UUID
    name: str
    external_id: str | None
    metadata: dict[str, Any]
    created_at: datetime

    @staticmethod
    def of(user: User) -> "UserView":
        """Show a user."""
        return UserView(
            id=user.id,
            name=user.name,
            external_id=user.external_id,
            metadata=dict(user.metadata),
            created_at=user.created_at,
        )


class BalanceAmounts(BaseModel):
    """What an account has, in minor units: available = posted - held + overdraft_limit."""

    posted: int
    held: int
    available: int


class BalanceView(BalanceAmounts):
    """An account's balance, now or as of a time."""

    account_id: UUID
    currency: str
    as_of: datetime | None = Field(description="null for the present balance")

    @staticmethod
    def of_account(account: Account) -> "BalanceView":
        """Show an account's present balance."""
        return BalanceView(
            account_id=account.id,
            currency=account.currency,
            posted=account.balance.posted_minor,
            held=account.balance.held_minor,
            available=account.balance.available_minor,
            as_of=None,
        )

    @staticmethod
    def of(balance: BalanceAsOf) -> "BalanceView":
        """Show a balance as of a time."""
        return BalanceView(
            account_id=balance.account_id,
            currency=balance.currency,
            posted=balance.posted_minor,
            held=balance.held_minor,
            available=balance.available_minor,
            as_of=balance.as_of,
        )


class AccountView(BaseModel):
    """An account."""

    id: UUID
    account_number: str
    user_id: UUID | None
    external_id: str | None
    kind: AccountKind
    currency: str
    status: AccountStatus
    overdraft_limit: int | None = Field(description="null: without limit (SYSTEM accounts)")
    balance: BalanceAmounts
    metadata: dict[str, Any]
    created_at: datetime

    @staticmethod
    def of(account: Account) -> "AccountView":
        """Show an account."""
        balance = account.balance
        return AccountView(
            id=account.id,
            account_number=account.account_number,
            user_id=account.user_id,
            external_id=account.external_id,
            kind=account.kind,
            currency=account.currency,
            status=balance.status,
            overdraft_limit=balance.overdraft_limit_minor,
            balance=BalanceAmounts(
                posted=balance.posted_minor,
                held=balance.held_minor,
                available=balance.available_minor,
            ),
            metadata=dict(account.metadata),
            created_at=account.created_at,
        )


class EntryView(BaseModel):
    """One entry of the ledger."""

    id: UUID
    account_id: UUID
    transfer_id: UUID
    sequence: int
    direction: EntryDirection
    amount: int
    currency: str
    balance_after: int
    effective_at: datetime
    created_at: datetime

    @staticmethod
    def of(entry: LedgerEntry) -> "EntryView":
        """Show an entry."""
        return EntryView(
            id=entry.id,
            account_id=entry.account_id,
            transfer_id=entry.transfer_id,
            sequence=entry.sequence,
            direction=entry.direction,
            amount=entry.amount_minor,
            currency=entry.currency,
            balance_after=entry.balance_after_minor,
            effective_at=entry.effective_at,
            created_at=entry.created_at,
        )


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


class ProblemField(BaseModel):
    """One field of a request that is not as it should be."""

    field: str
    code: str
    message: str


class Problem(BaseModel):
    """An error, as RFC 9457 has it. ``code`` is stable; ``detail`` is for people."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[ProblemField] | None = None
    transfer: TransferView | None = None
    request_id: str | None = Field(default=None, description="As in the header X-Request-ID.")
