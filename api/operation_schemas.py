"""Bodies of operations on transfers."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field, StrictBool

from api.fields import AmountFromZero, Moment, Note
from api.schemas import RequestBody
from domain.access import Principal
from domain.ids import TransferId
from domain.operations import Operation, OperationOrder, OperationRecord
from services.idempotency import digest


class OperationBody(RequestBody):
    """Base of what an operation is asked with."""

    def to_order(
        self, operation: Operation, principal: Principal, transfer_id: TransferId, key: str
    ) -> OperationOrder:
        """Say it in the domain's words."""
        asked = self.model_dump(mode="json", exclude_none=True)
        return OperationOrder(
            tenant_id=principal.tenant_id,
            transfer_id=transfer_id,
            idempotency_key=key,
            fingerprint=digest(
                {"operation": operation, "transfer_id": str(transfer_id), "body": asked}
            ),
            operation=operation,
            requested_by=principal.api_key_id,
            actor=principal.actor,
            **self.parameters(),
        )

    def parameters(self) -> dict[str, Any]:
        """Give the operation's own fields of an ``OperationOrder``."""
        raise NotImplementedError


class CaptureBody(OperationBody):
    """How much of a hold is to move."""

    amount: AmountFromZero | None = Field(
        default=None, description="All that is left where left out; 0 only with final true."
    )
    final: StrictBool | None = Field(
        default=None,
        description="Release what is left. By default true without an amount, false with one.",
    )

    def parameters(self) -> dict[str, Any]:
        """See ``OperationBody.parameters``."""
        return {"amount_minor": self.amount, "is_final": self.final}


class ExtendBody(OperationBody):
    """Until when a hold is to stand."""

    expires_at: Moment

    def parameters(self) -> dict[str, Any]:
        """See ``OperationBody.parameters``."""
        return {"expires_at": self.expires_at}


class CancelBody(OperationBody):
    """Why a transfer is given up."""

    reason: Note | None = None

    def parameters(self) -> dict[str, Any]:
        """See ``OperationBody.parameters``."""
        return {"note": self.reason}


class DecisionBody(OperationBody):
    """What an approver says."""

    note: Note | None = None
    fingerprint: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = Field(
        default=None,
        description="The transfer's, as the approver has seen it: another one is refused.",
    )

    def parameters(self) -> dict[str, Any]:
        """See ``OperationBody.parameters``."""
        seen = self.fingerprint
        return {
            "note": self.note,
            "seen_fingerprint": None if seen is None else bytes.fromhex(seen),
        }


class DecisionView(BaseModel):
    """One approval, or a rejection."""

    decision: Operation
    note: str | None
    decided_by: UUID = Field(description="The API key.")
    decided_at: datetime
    fingerprint: str = Field(description="Of the request that was decided on.")

    @staticmethod
    def of(record: OperationRecord) -> "DecisionView":
        """Show a decision."""
        return DecisionView(
            decision=record.operation,
            note=record.note,
            decided_by=record.requested_by,
            decided_at=record.created_at,
            fingerprint=record.transfer.fingerprint.hex(),
        )
