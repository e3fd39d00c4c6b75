"""What of operators' actions stands in the database: audit rows, and the terms of their effects."""

from datetime import timedelta
from types import MappingProxyType
from typing import Final

from domain.audit import Actor
from domain.errors import ResolvedByOperator
from domain.ids import ApiKeyId, TransferId
from domain.limits import HOLD_SECONDS_DEFAULT
from domain.operations import Operation, OperationOrder
from domain.stuck import Candidate, Judgement, OperatorAction, StuckKind
from domain.transfers import CaptureMode, Failure, Transfer, TransferOrder, TransferTerms
from persistence.database import Database
from services.idempotency import digest

CANCEL_KEY_PREFIX: Final = "operator-cancel/"
"""Before a transfer's id in the idempotency key of its cancel by operators: one for all of them."""

AUDITED_AS: Final = "operations."
"""Before the name of an ``OperatorAction`` in the audit log."""

_SUBJECTS: Final = MappingProxyType(
    {
        StuckKind.TRANSFER: "transfer",
        StuckKind.BATCH: "transfer_batch",
        StuckKind.STANDING_ORDER_RUN: "standing_order",
    }
)


class OperatorActionService:
    """Keeps the record of what operators do."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(
        self, found: Judgement, action: OperatorAction, reason: str, actor: Actor
    ) -> None:
        """Write an action's audit row.

        Raises
        ------
        DatabaseUnavailable
            No connection: then the action must not be done.

        Notes
        -----
        One transaction of its own, before the action: Temporal loses reason and identity, and what
        fails half-way was asked for all the same.
        """
        candidate = found.candidate
        scheduled_at = candidate.scheduled_at
        run = {} if scheduled_at is None else {"scheduled_at": scheduled_at.isoformat()}
        async with self._database.transaction(candidate.tenant_id) as unit_of_work:
            await unit_of_work.audit.record(
                actor,
                f"{AUDITED_AS}{action}",
                tenant_id=candidate.tenant_id,
                subject_type=_SUBJECTS[candidate.kind],
                subject_id=candidate.id,
                reason=reason,
                details={
                    "stage": candidate.stage,
                    "cause": found.cause,
                    "attempts": found.attempts,
                    "last_error": found.last_error,
                    **run,
                },
            )

    @staticmethod
    def resolution(reason: str) -> Failure:
        """Say why a transfer fails that an operator resolved."""
        return Failure.of(ResolvedByOperator(reason))


def cancel_order(
    candidate: Candidate, reason: str, requested_by: ApiKeyId, actor: Actor
) -> OperationOrder:
    """Give the operation that cancels a transfer; all operators' cancels of one have one key."""
    return OperationOrder(
        tenant_id=candidate.tenant_id,
        transfer_id=TransferId(candidate.id),
        idempotency_key=f"{CANCEL_KEY_PREFIX}{candidate.id}",
        fingerprint=digest({"operation": "cancel", "transfer_id": str(candidate.id)}),
        operation=Operation.CANCEL,
        requested_by=requested_by,
        note=reason,
        actor=actor,
    )


def order_again(transfer: Transfer) -> TransferOrder:
    """Give the order of a recorded transfer whose workflow, and so what it began with, is lost.

    Notes
    -----
    Its first step finds the record, and takes nothing from here but what a schedule still needs.
    How long a scheduled hold was to last from its reserve on is in no record: the default stands.
    """
    needs_end = transfer.capture is CaptureMode.MANUAL and transfer.expires_at is None
    return TransferOrder(
        id=transfer.id,
        tenant_id=transfer.tenant_id,
        idempotency_key=transfer.idempotency_key,
        fingerprint=transfer.fingerprint,
        type=transfer.type,
        source_account_id=transfer.source_account_id,
        destination_account_id=transfer.destination_account_id,
        money=transfer.money,
        description=transfer.description,
        metadata=transfer.metadata,
        effective_at=transfer.effective_at,
        requested_by=transfer.requested_by,
        terms=TransferTerms(
            capture=transfer.capture,
            expires_at=transfer.expires_at,
            hold_for=timedelta(seconds=HOLD_SECONDS_DEFAULT) if needs_end else None,
            execute_at=transfer.execute_at,
            legs=transfer.more_legs,
            reversal_of=transfer.reversal_of,
        ),
    )
