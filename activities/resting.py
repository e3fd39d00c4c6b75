"""What moves a transfer that rests, as Temporal activities: one call of a service each."""

from temporalio import activity

from activities.application_errors import application_errors
from activities.contracts import (
    ExpiryInput,
    OperationInput,
    RestingSteps,
    TransferInput,
    TransferProgress,
)
from activities.orders import operation_of, order_of
from activities.transfers import progress_of
from domain.ids import TenantId, TransferId
from services.operations import OperationService
from services.transactions import TransactionService


class RestingActivities(RestingSteps):
    """Carries out the steps with ``TransactionService`` and ``OperationService``."""

    def __init__(self, transactions: TransactionService, operations: OperationService) -> None:
        self._transactions = transactions
        self._operations = operations

    @activity.defn(name="schedule")
    async def schedule(self, order: TransferInput) -> TransferProgress:
        """See ``RestingSteps.schedule`` and ``TransactionService.schedule``."""
        with application_errors():
            return progress_of(await self._transactions.schedule(order_of(order)))

    @activity.defn(name="expire")
    async def expire(self, expiry: ExpiryInput) -> TransferProgress:
        """See ``RestingSteps.expire`` and ``TransactionService.expire``."""
        with application_errors():
            return progress_of(
                await self._transactions.expire(
                    TenantId(expiry.transfer.tenant_id),
                    TransferId(expiry.transfer.transfer_id),
                    expiry.due_at,
                )
            )

    @activity.defn(name="carry_out_operation")
    async def carry_out_operation(self, operation: OperationInput) -> TransferProgress:
        """See ``RestingSteps.carry_out_operation`` and ``OperationService.carry_out``."""
        with application_errors():
            return progress_of(await self._operations.carry_out(operation_of(operation)))
