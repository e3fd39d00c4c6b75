"""The SQL of a transfer's three steps: the service's own, called by the peers."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self
from uuid import UUID

from benchmarks.peers.details import Details
from benchmarks.stack import CURRENCY
from domain.ids import AccountId, TenantId, TransferId
from domain.money import Money
from domain.states import ProcessState
from domain.transfers import TransferOrder, TransferType
from runtime.composition import open_services
from services.transactions import TransactionService


class MoneySteps:
    """Takes the steps of transfers, each in one transaction."""

    def __init__(self, transactions: TransactionService) -> None:
        self._transactions = transactions

    @classmethod
    @asynccontextmanager
    async def open(cls, database_url: str) -> AsyncIterator[Self]:
        """Give the steps over a database."""
        async with open_services(database_url) as services:
            yield cls(services.transactions)

    async def reserve(self, details: Details) -> str:
        """Record the transfer and hold its funds."""
        return (await self._transactions.reserve(_order(details))).state

    async def post(self, details: Details) -> str:
        """Write the entries."""
        return (
            await self._transactions.post(
                TenantId(UUID(details.tenant_id)), TransferId(UUID(details.transfer_id))
            )
        ).state

    async def finalise(self, details: Details) -> str:
        """Complete the transfer."""
        return (
            await self._transactions.finalise(
                TenantId(UUID(details.tenant_id)), TransferId(UUID(details.transfer_id))
            )
        ).state


def require_success(state: str) -> None:
    """Check the outcome of a transfer.

    Raises
    ------
    RuntimeError
        It did not succeed.
    """
    if state != ProcessState.SUCCESS:
        raise RuntimeError(f"the transfer is {state}")


def _order(details: Details) -> TransferOrder:
    return TransferOrder(
        id=TransferId(UUID(details.transfer_id)),
        tenant_id=TenantId(UUID(details.tenant_id)),
        idempotency_key=details.key,
        fingerprint=hashlib.sha256(details.key.encode()).digest(),
        type=TransferType.INTERNAL,
        source_account_id=AccountId(UUID(details.source)),
        destination_account_id=AccountId(UUID(details.destination)),
        money=Money(1, CURRENCY),
        description=None,
        metadata={},
        effective_at=None,
    )
