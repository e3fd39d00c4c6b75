"""Transfers: what is asked for, what is recorded, and the log of stages."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from domain.accounts import AccountReference
from domain.audit import Actor
from domain.errors import DomainError
from domain.ids import (
    AccountId,
    ApiKeyId,
    BatchId,
    TenantId,
    TransferId,
    batch_workflow_id,
    workflow_id,
)
from domain.money import Money
from domain.states import ProcessState, Step, TransferStage, state_of


class TransferType(StrEnum):
    """Between which accounts the money moves."""

    INTERNAL = "INTERNAL"
    """From one customer account to another."""
    DEPOSIT = "DEPOSIT"
    """From the tenant's settlement account to a customer account."""
    WITHDRAWAL = "WITHDRAWAL"
    """From a customer account to the tenant's settlement account."""
    REVERSAL = "REVERSAL"
    """Back along an earlier transfer."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a transfer failed: a stable code and a sentence."""

    code: str
    message: str

    @staticmethod
    def of(error: DomainError) -> "Failure":
        """Record an error as the reason of a failure."""
        return Failure(error.code, error.message)


class CaptureMode(StrEnum):
    """Who says when the reserved money moves."""

    AUTOMATIC = "automatic"
    """The transfer itself, at once and as a whole."""
    MANUAL = "manual"
    """The client, later, as a whole or in parts."""


@dataclass(frozen=True, slots=True)
class LegRequest:
    """One leg of a transfer with several, in the client's own names for accounts."""

    source: AccountReference
    destination: AccountReference
    money: Money


@dataclass(frozen=True, slots=True)
class Leg:
    """One movement of money within a transfer."""

    source_account_id: AccountId
    destination_account_id: AccountId
    money: Money


def accounts_of(legs: Iterable[Leg]) -> list[AccountId]:
    """Name the accounts that legs move money of and to, source first, in the order of the legs."""
    return [side for leg in legs for side in (leg.source_account_id, leg.destination_account_id)]


@dataclass(frozen=True, slots=True)
class TransferTerms:
    """What a transfer is asked to do other than to move money between two accounts at once.

    Parameters
    ----------
    expires_at
        When a hold with manual capture ends, where the client named a time.
    hold_for
        How long after the reserve it ends, where the client named none.
    execute_at
        When to reserve and move the money; at once where left out.
    legs
        All movements, where there are several.
    reversal_of
        The transfer that a REVERSAL goes back along.
    """

    capture: CaptureMode = CaptureMode.AUTOMATIC
    expires_at: datetime | None = None
    hold_for: timedelta | None = None
    execute_at: datetime | None = None
    legs: tuple[Leg, ...] = ()
    reversal_of: TransferId | None = None


PLAIN_TERMS: Final = TransferTerms()


@dataclass(frozen=True, slots=True)
class TransferRequest:
    """What a client asks for, in the client's own names for accounts.

    Parameters
    ----------
    source
        Not for a DEPOSIT.
    destination
        Not for a WITHDRAWAL.
    expires_at, hold_for
        As in ``TransferTerms``; at most one of them, and only for a manual capture.
    legs
        Instead of source, destination and money, which are then those of the first leg.
    """

    idempotency_key: str
    type: TransferType
    source: AccountReference | None
    destination: AccountReference | None
    money: Money
    description: str | None
    metadata: Mapping[str, Any]
    effective_at: datetime | None
    capture: CaptureMode = CaptureMode.AUTOMATIC
    expires_at: datetime | None = None
    hold_for: timedelta | None = None
    execute_at: datetime | None = None
    legs: tuple[LegRequest, ...] = ()


@dataclass(frozen=True, slots=True)
class ReversalRequest:
    """A client's wish to take money back along a transfer.

    Parameters
    ----------
    amount_minor
        In minor units; all that is not reversed yet where left out.
    """

    idempotency_key: str
    transfer_id: TransferId
    amount_minor: int | None
    reason: str | None
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TransferOrder:
    """A checked request to move money: accounts are known, the currency is theirs.

    Parameters
    ----------
    fingerprint
        SHA-256 of what the client asked for; tells a repeat from another request with the same key.
    source_account_id, destination_account_id, money
        Those of the first leg, where there are several.
    effective_at
        When the money counts, where that is not the moment of recording.
    requested_by
        The API key that asked for it.
    actor
        Who asked for it, and from where; ``None`` where nobody did.
    """

    id: TransferId
    tenant_id: TenantId
    idempotency_key: str
    fingerprint: bytes
    type: TransferType
    source_account_id: AccountId
    destination_account_id: AccountId
    money: Money
    description: str | None
    metadata: Mapping[str, Any]
    effective_at: datetime | None
    requested_by: ApiKeyId | None = None
    terms: TransferTerms = PLAIN_TERMS
    actor: Actor | None = None

    @property
    def workflow_id(self) -> str:
        """ID of the workflow that carries the transfer out."""
        return workflow_id(self.tenant_id, self.idempotency_key)

    @property
    def legs(self) -> tuple[Leg, ...]:
        """All movements of money, in their order."""
        only = Leg(self.source_account_id, self.destination_account_id, self.money)
        return self.terms.legs or (only,)


@dataclass(frozen=True, slots=True)
class Transfer:
    """A transfer as it is recorded.

    Parameters
    ----------
    captured_minor
        What captures have moved so far, where the capture is manual, else ``None``.
    reversed_minor
        What reversals take back, those still under way included.
    expires_at
        When a hold with manual capture ends.
    more_legs
        All legs where there are several, else empty.
    batch_id
        The batch that made it, where one did.
    """

    id: TransferId
    tenant_id: TenantId
    idempotency_key: str
    fingerprint: bytes
    type: TransferType
    stage: TransferStage
    source_account_id: AccountId
    destination_account_id: AccountId
    money: Money
    description: str | None
    metadata: Mapping[str, Any]
    failure: Failure | None
    reversal_of: TransferId | None
    effective_at: datetime
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None
    captured_minor: int | None = None
    reversed_minor: int = 0
    expires_at: datetime | None = None
    execute_at: datetime | None = None
    approvals_required: int | None = None
    approval_deadline_at: datetime | None = None
    requested_by: ApiKeyId | None = None
    more_legs: tuple[Leg, ...] = ()
    batch_id: BatchId | None = None

    @property
    def state(self) -> ProcessState:
        """The state that the stage belongs to."""
        return state_of(self.stage)

    @property
    def workflow_id(self) -> str:
        """ID of the workflow that carries the transfer out: its key's, or its batch's."""
        if self.batch_id is not None:
            return batch_workflow_id(self.tenant_id, self.batch_id)
        return workflow_id(self.tenant_id, self.idempotency_key)

    @property
    def is_final(self) -> bool:
        """Whether the outcome stands, for ever."""
        return self.state is not ProcessState.PROCESSING

    @property
    def capture(self) -> CaptureMode:
        """Who says when the reserved money moves."""
        return CaptureMode.AUTOMATIC if self.captured_minor is None else CaptureMode.MANUAL

    @property
    def legs(self) -> tuple[Leg, ...]:
        """All movements of money, in their order."""
        only = Leg(self.source_account_id, self.destination_account_id, self.money)
        return self.more_legs or (only,)

    @property
    def moved_minor(self) -> int:
        """What has moved so far, of the first leg where there are several."""
        if self.captured_minor is not None:
            return self.captured_minor
        has_posted = self.stage in {TransferStage.POSTED, TransferStage.COMPLETED}
        return self.money.amount_minor if has_posted else 0

    @property
    def waits_until(self) -> datetime | None:
        """Until when the transfer rests for somebody or its time, or ``None`` where it moves on."""
        if self.stage is TransferStage.SCHEDULED:
            return self.execute_at
        if self.stage is TransferStage.AWAITING_APPROVAL:
            return self.approval_deadline_at
        if self.stage is TransferStage.RESERVED and self.capture is CaptureMode.MANUAL:
            return self.expires_at
        return None


@dataclass(frozen=True, slots=True)
class TransferEvent:
    """One change of stage. The log of a transfer is append-only.

    Parameters
    ----------
    cause
        Code of the failure for a change to FAILED, else ``None``.
    details
        What else there is to tell: an amount, a reason, a new time.
    """

    transfer_id: TransferId
    sequence: int
    step: Step
    stage: TransferStage
    cause: str | None
    occurred_at: datetime
    details: Mapping[str, Any] | None = None


class HoldStatus(StrEnum):
    """What became of a reservation."""

    HELD = "HELD"
    CAPTURED = "CAPTURED"
    RELEASED = "RELEASED"
