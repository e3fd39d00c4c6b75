"""The steps of a transfer as Temporal activities: one call of a service each."""

from temporalio import activity

from activities.application_errors import application_errors
from activities.contracts import (
    CompensationInput,
    FailureDetails,
    TransferInput,
    TransferKey,
    TransferProgress,
    TransferSteps,
)
from activities.orders import order_of
from domain.ids import TenantId, TransferId
from domain.transfers import Failure, Transfer
from services.transactions import TransactionService


class TransferActivities(TransferSteps):
    """Carries out the steps with ``TransactionService``.

    Notes
    -----
    Refusals by the rules of business are final. Everything else is retried: a server that is away
    comes back, and a bug is healed by a deploy while the money stays where it is.
    """

    def __init__(self, transactions: TransactionService) -> None:
        self._transactions = transactions

    @activity.defn(name="reserve_funds")
    async def reserve_funds(self, order: TransferInput) -> TransferProgress:
        """See ``TransferSteps.reserve_funds`` and ``TransactionService.reserve``."""
        with application_errors():
            return progress_of(await self._transactions.reserve(order_of(order)))

    @activity.defn(name="post_entries")
    async def post_entries(self, transfer: TransferKey) -> TransferProgress:
        """See ``TransferSteps.post_entries`` and ``TransactionService.post``."""
        with application_errors():
            return progress_of(
                await self._transactions.post(
                    TenantId(transfer.tenant_id), TransferId(transfer.transfer_id)
                )
            )

    @activity.defn(name="finalise")
    async def finalise(self, transfer: TransferKey) -> TransferProgress:
        """See ``TransferSteps.finalise`` and ``TransactionService.finalise``."""
        with application_errors():
            return progress_of(
                await self._transactions.finalise(
                    TenantId(transfer.tenant_id), TransferId(transfer.transfer_id)
                )
            )

    @activity.defn(name="compensate")
    async def compensate(self, compensation: CompensationInput) -> TransferProgress:
        """See ``TransferSteps.compensate`` and ``TransactionService.compensate``."""
        with application_errors():
            return progress_of(
                await self._transactions.compensate(
                    TenantId(compensation.transfer.tenant_id),
                    TransferId(compensation.transfer.transfer_id),
                    Failure(compensation.failure.code, compensation.failure.message),
                )
            )


def progress_of(transfer: Transfer) -> TransferProgress:
    """Tell a workflow what a transfer has come to."""
    failure = transfer.failure
    return TransferProgress(
        transfer_id=transfer.id,
        state=transfer.state,
        stage=transfer.stage,
        failure=FailureDetails(failure.code, failure.message) if failure else None,
        waits_until=transfer.waits_until,
    )
