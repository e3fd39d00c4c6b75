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
from domain.ids import AccountId, TenantId, TransferId
from domain.money import Money
from domain.transfers import Failure, Transfer, TransferOrder
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
            return _progress(await self._transactions.reserve(_order(order)))

    @activity.defn(name="post_entries")
    async def post_entries(self, transfer: TransferKey) -> TransferProgress:
        """See ``TransferSteps.post_entries`` and ``TransactionService.post``."""
        with application_errors():
            return _progress(
                await self._transactions.post(
                    TenantId(transfer.tenant_id), TransferId(transfer.transfer_id)
                )
            )

    @activity.defn(name="finalise")
    async def finalise(self, transfer: TransferKey) -> TransferProgress:
        """See ``TransferSteps.finalise`` and ``TransactionService.finalise``."""
        with application_errors():
            return _progress(
                await self._transactions.finalise(
                    TenantId(transfer.tenant_id), TransferId(transfer.transfer_id)
                )
            )

    @activity.defn(name="compensate")
    async def compensate(self, compensation: CompensationInput) -> TransferProgress:
        """See ``TransferSteps.compensate`` and ``TransactionService.compensate``."""
        with application_errors():
            return _progress(
                await self._transactions.compensate(
                    TenantId(compensation.transfer.tenant_id),
                    TransferId(compensation.transfer.transfer_id),
                    Failure(compensation.failure.code, compensation.failure.message),
                )
            )


def _order(order: TransferInput) -> TransferOrder:
    return TransferOrder(
        id=TransferId(order.transfer_id),
        tenant_id=TenantId(order.tenant_id),
        idempotency_key=order.idempotency_key,
        fingerprint=bytes.fromhex(order.fingerprint),
        type=order.type,
        source_account_id=AccountId(order.source_account_id),
        destination_account_id=AccountId(order.destination_account_id),
        money=Money(int(order.amount_minor), order.currency),
        description=order.description,
        metadata=order.metadata or {},
        effective_at=order.effective_at,
    )


def _progress(transfer: Transfer) -> TransferProgress:
    failure = transfer.failure
    return TransferProgress(
        transfer_id=transfer.id,
        state=transfer.state,
        stage=transfer.stage,
        failure=FailureDetails(failure.code, failure.message) if failure else None,
    )
