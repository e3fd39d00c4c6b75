"""All that is on record of one transfer, read at once for those who look into it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from domain.accounts import AccountLabel
from domain.errors import TransferNotFound
from domain.evidence import HoldRecord
from domain.ids import AccountId, ApiKeyId, TenantId, TransferId
from domain.ledger import LedgerEntry
from domain.operations import Operation, OperationRecord
from domain.transfers import Transfer, TransferEvent, accounts_of
from persistence.database import Database
from persistence.tenancy import EVERY_TENANT


@dataclass(frozen=True, slots=True)
class Labels:
    """What people call the accounts and keys of some transfers."""

    accounts: Mapping[AccountId, AccountLabel]
    api_keys: Mapping[ApiKeyId, str]


@dataclass(frozen=True, slots=True)
class TransferDetails:
    """A transfer and what belongs to it."""

    transfer: Transfer
    events: Sequence[TransferEvent]
    entries: Sequence[LedgerEntry]
    holds: Sequence[HoldRecord]
    operations: Sequence[OperationRecord]
    reversals: Sequence[Transfer]
    labels: Labels


class TransferDetailService:
    """Reads transfers with what belongs to them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, tenant_id: TenantId, transfer_id: TransferId) -> TransferDetails:
        """Read a transfer in detail.

        Raises
        ------
        TransferNotFound
            The tenant has no such transfer, or it is not recorded yet.
        DatabaseUnavailable
            No connection.
        """
        async with self._database.reading(tenant_id) as unit_of_work:
            transfer = await unit_of_work.transfers.get(tenant_id, transfer_id)
            if transfer is None:
                raise TransferNotFound(str(transfer_id))
            operations = await unit_of_work.operations.of_transfer(transfer_id, *Operation)
            entries = await unit_of_work.ledger.of_transfer(tenant_id, transfer_id)
            accounts = {entry.account_id for entry in entries} | set(accounts_of(transfer.legs))
            keys = {operation.requested_by for operation in operations}
            if transfer.requested_by is not None:
                keys.add(transfer.requested_by)
            events = await unit_of_work.transfers.events(transfer_id)
            holds = await unit_of_work.holds.of_transfer(transfer_id)
            reversals = await unit_of_work.transfers.reversals(tenant_id, transfer_id)
            labels = await unit_of_work.labels.accounts(tenant_id, accounts)
        return TransferDetails(
            transfer=transfer,
            events=events,
            entries=entries,
            holds=holds,
            operations=operations,
            reversals=reversals,
            labels=Labels(labels, await self._key_names(keys)),
        )

    async def label(self, tenant_id: TenantId, transfers: Sequence[Transfer]) -> Labels:
        """Read what people call the accounts and keys of transfers."""
        accounts = {account for transfer in transfers for account in accounts_of(transfer.legs)}
        keys = {t.requested_by for t in transfers if t.requested_by is not None}
        return await self.label_accounts(tenant_id, accounts, keys)

    async def label_accounts(
        self,
        tenant_id: TenantId,
        accounts: set[AccountId],
        keys: set[ApiKeyId] | None = None,
    ) -> Labels:
        """Read what people call accounts and keys."""
        async with self._database.reading(tenant_id) as unit_of_work:
            labels = await unit_of_work.labels.accounts(tenant_id, accounts)
        return Labels(labels, await self._key_names(keys or set()))

    async def approvals(
        self, tenant_id: TenantId, transfers: Sequence[Transfer]
    ) -> dict[TransferId, int]:
        """Count the approvals that transfers have; those without one are left out."""
        async with self._database.reading(tenant_id) as unit_of_work:
            return await unit_of_work.labels.approvals({transfer.id for transfer in transfers})

    async def _key_names(self, keys: set[ApiKeyId]) -> dict[ApiKeyId, str]:
        """Read the names of keys; an operator's key is another tenant's."""
        if not keys:
            return {}
        async with self._database.reading(EVERY_TENANT) as unit_of_work:
            return await unit_of_work.labels.api_keys(keys)
