"""Transfers: what is asked for, what is recorded, and the log of stages."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from domain.accounts import AccountReference
from domain.errors import DomainError
from domain.ids import AccountId, BatchId, TenantId, TransferId, batch_workflow_id, workflow_id
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


@dataclass(frozen=True, slots=True)
class TransferRequest:
    """What a client asks for, in the client's own names for accounts.

    Parameters
    ----------
    source
        Not for a DEPOSIT.
    destination
        Not for a WITHDRAWAL.
    """

    idempotency_key: str
    type: TransferType
    source: AccountReference | None
    destination: AccountReference | None
    money: Money
    description: str | None
    metadata: Mapping[str, Any]
    effective_at: datetime | None


@dataclass(frozen=True, slots=True)
class TransferOrder:
    """A checked request to move money: accounts are known, the currency is theirs.

    Parameters
    ----------
    fingerprint
        SHA-256 of what the client asked for; tells a repeat from another request with the same key.
    effective_at
        When the money counts, where that is not the moment of recording.
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

    @property
    def workflow_id(self) -> str:
        """ID of the workflow that carries the transfer out."""
        return workflow_id(self.tenant_id, self.idempotency_key)


@dataclass(frozen=True, slots=True)
class Transfer:
    """A transfer as it is recorded.

    Parameters
    ----------
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


@dataclass(frozen=True, slots=True)
class TransferEvent:
    """One change of stage. The log of a transfer is append-only.

    Parameters
    ----------
    cause
        Code of the failure for a change to FAILED, else ``None``.
    """

    transfer_id: TransferId
    sequence: int
    step: Step
    stage: TransferStage
    cause: str | None
    occurred_at: datetime


class HoldStatus(StrEnum):
    """What became of a reservation."""

    HELD = "HELD"
    CAPTURED = "CAPTURED"
    RELEASED = "RELEASED"
