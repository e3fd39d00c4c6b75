"""The walk of an operation on a transfer: through its workflow, to the one answer of its key."""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from activities.orders import operation_input_of
from activities.reconciliation import COMPLETED
from api.transfer_intake import TransferIntake
from domain.errors import TemporalUnavailable, ValidationFailed, WorkflowTerminated
from domain.ids import TenantId, TransferId
from domain.limits import HOLD_SECONDS_MAXIMUM
from domain.operations import OperationOrder, OperationRecord
from domain.pages import Page
from domain.transfers import Failure, Transfer
from services.operations import OperationService
from services.transactions import TransactionService
from services.transfer_requests import time_problem
from workflows.gateway import TransferGateway, WorkflowClosed


@dataclass(frozen=True, slots=True)
class OperationAnswer:
    """What became of an operation.

    Parameters
    ----------
    transfer
        As the operation left it; as it is now where the operation is still under way.
    """

    transfer: Transfer
    is_replay: bool
    is_done: bool


class TransferOperations:
    """Takes in operations on transfers.

    Notes
    -----
    The workflow carries them out, so that its history shows them and a server that is away only
    delays them. The database decides each under the transfer's lock, whoever asks it: where the
    workflow has ended, it is asked directly.
    """

    def __init__(
        self,
        *,
        operations: OperationService,
        transactions: TransactionService,
        intake: TransferIntake,
        gateway: TransferGateway,
    ) -> None:
        self._operations = operations
        self._transactions = transactions
        self._intake = intake
        self._gateway = gateway

    async def submit(self, order: OperationOrder, *, wait_seconds: float) -> OperationAnswer:
        """Give the one answer of an operation's key.

        Parameters
        ----------
        wait_seconds
            How long to wait until it is done.

        Raises
        ------
        TransferNotFound
            The tenant has no such transfer.
        IdempotencyKeyReused
            The key was used for another request.
        ValidationFailed
            The new end of a hold has passed, or is more than ``HOLD_SECONDS_MAXIMUM`` ahead.
        OperationRefused, OperationConflict, TransferRefusal
            Nothing was done, and the key is not used up.
        DatabaseUnavailable, TemporalUnavailable
            The same request later gives the one answer.
        """
        transfer = await self._intake.find(order.tenant_id, order.transfer_id)
        earlier = await self._operations.find(order, transfer)
        if earlier is not None:
            return OperationAnswer(earlier.transfer, is_replay=True, is_done=True)
        _require_in_bounds(order)
        if transfer.is_final:
            return await self._directly(order)
        try:
            is_done = await self._gateway.operate(
                transfer.workflow_id, operation_input_of(order), wait_seconds=wait_seconds
            )
        except WorkflowClosed as error:
            status = await self._gateway.closed_status(transfer.workflow_id)
            if status is None:
                # Its next run has taken over, and must hear of whatever is done.
                raise TemporalUnavailable from error
            if status == COMPLETED and not (await self._again(transfer)).is_final:
                # The database was restored to an earlier time: the transfer goes on first.
                await self._gateway.carry_on(transfer.workflow_id)
                raise TemporalUnavailable from error
            await self._transactions.compensate(
                order.tenant_id, order.transfer_id, Failure.of(WorkflowTerminated(status))
            )
            return await self._directly(order)
        if is_done:
            record = await self._operations.find(order, transfer)
            if record is None:
                raise TemporalUnavailable
            return OperationAnswer(record.transfer, is_replay=False, is_done=True)
        present = await self._intake.find(order.tenant_id, order.transfer_id)
        return OperationAnswer(present, is_replay=False, is_done=False)

    async def decisions(
        self, tenant_id: TenantId, transfer_id: TransferId, *, after: UUID | None, limit: int
    ) -> Page[OperationRecord]:
        """Read who approved or rejected a transfer, oldest first; see ``OperationService``."""
        await self._intake.find(tenant_id, transfer_id)
        return await self._operations.decisions(tenant_id, transfer_id, after=after, limit=limit)

    async def _again(self, transfer: Transfer) -> Transfer:
        return await self._transactions.get(transfer.tenant_id, transfer.id)

    async def _directly(self, order: OperationOrder) -> OperationAnswer:
        """Let the database say what a final transfer makes of an operation."""
        transfer = await self._operations.carry_out(order)
        return OperationAnswer(transfer, is_replay=True, is_done=True)


def _require_in_bounds(order: OperationOrder) -> None:
    """Refuse an end that no hold can have; whether it extends this one is for the lock to tell."""
    problem = time_problem(
        "expires_at", order.expires_at, datetime.now(UTC), seconds=HOLD_SECONDS_MAXIMUM
    )
    if problem is not None:
        raise ValidationFailed([problem])
