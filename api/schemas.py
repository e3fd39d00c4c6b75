"""Bodies of requests and answers."""

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.fields import (
    AccountName,
    Amount,
    CurrencyCode,
    Description,
    ExternalId,
    Metadata,
    Moment,
    Name,
    OverdraftLimit,
)
from domain.accounts import Account, AccountKind, AccountStatus, BalanceAsOf, User
from domain.ledger import EntryDirection, LedgerEntry
from domain.money import Money
from domain.states import ProcessState, Step, TransferStage
from domain.transfers import Transfer, TransferEvent, TransferRequest, TransferType
from workflows.gateway import LiveWorkflow

Item = TypeVar("Item")


class RequestBody(BaseModel):
    """Base of what clients send: a field that is not known is an error, not silence."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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


class AccountChange(RequestBody):
    """What of an account is to change; what is left out stays."""

    overdraft_limit: OverdraftLimit | None = None
    metadata: Metadata | None = None


class TransferCreate(RequestBody):
    """Money to be moved."""

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
    description: Description | None = None
    metadata: Metadata = Field(default_factory=dict)
    effective_at: Moment | None = Field(
        default=None, description="When the money counts; the moment of recording by default."
    )

    def to_request(self, idempotency_key: str) -> TransferRequest:
        """Say it in the domain's words."""
        return TransferRequest(
            idempotency_key=idempotency_key,
            type=TransferType(self.type),
            source=self.source,
            destination=self.destination,
            money=Money(self.amount, self.currency),
            description=self.description,
            metadata=self.metadata,
            effective_at=self.effective_at,
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
    occurred_at: datetime

    @staticmethod
    def of(event: TransferEvent) -> "EventView":
        """Show an event."""
        return EventView(
            sequence=event.sequence,
            step=event.step,
            stage=event.stage,
            cause=event.cause,
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
