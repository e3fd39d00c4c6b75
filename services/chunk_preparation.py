"""What the rows of a chunk mean, found out before any money is looked at."""

from collections.abc import Iterator, Sequence

from domain.accounts import AccountKind, AccountReference
from domain.batches import BatchRow
from domain.errors import DomainError
from domain.ids import TenantId, TransferId
from domain.transfers import TransferOrder, TransferRequest
from persistence.accounts import AccountIdentity
from services.chunk_decision import PreparedRow
from services.idempotency import fingerprint_of
from services.identifiers import new_uuid
from services.transfer_sides import identify_sides


class _Directory:
    """Accounts by every name that a reference can have, and settlement accounts by currency."""

    def __init__(self, accounts: Sequence[AccountIdentity]) -> None:
        self._by_name: dict[object, AccountIdentity] = {}
        self._settlement: dict[str, AccountIdentity] = {}
        for account in accounts:
            self._by_name[account.id] = self._by_name[account.account_number] = account
            if account.external_id is not None:
                self._by_name["external", account.external_id] = account
            if account.kind is AccountKind.SYSTEM:
                self._settlement[account.currency] = account

    def meant_by(self, request: TransferRequest) -> Iterator[AccountIdentity]:
        """Give the accounts that a request may mean."""
        for reference in (request.source, request.destination):
            account = (
                self._settlement.get(request.money.currency)
                if reference is None
                else self._by_name.get(_name(reference))
            )
            if account is not None:
                yield account


def prepare_rows(
    tenant_id: TenantId,
    requests: Sequence[TransferRequest],
    rows: Sequence[BatchRow],
    accounts: Sequence[AccountIdentity],
) -> list[PreparedRow]:
    """Check rows against the accounts that were found, as ``TransactionService.prepare`` does."""
    directory = _Directory(accounts)
    return [
        _prepared(tenant_id, row, request, directory)
        for row, request in zip(rows, requests, strict=True)
    ]


def _prepared(
    tenant_id: TenantId, row: BatchRow, request: TransferRequest, directory: _Directory
) -> PreparedRow:
    try:
        source, destination = identify_sides(request, list(directory.meant_by(request)))
    except DomainError as refusal:
        return PreparedRow(row, None, refusal)
    order = TransferOrder(
        id=TransferId(new_uuid()),
        tenant_id=tenant_id,
        idempotency_key=request.idempotency_key,
        fingerprint=fingerprint_of(request, source=source.id, destination=destination.id),
        type=request.type,
        source_account_id=source.id,
        destination_account_id=destination.id,
        money=request.money,
        description=request.description,
        metadata=request.metadata,
        effective_at=request.effective_at,
    )
    return PreparedRow(row, order, None)


def _name(reference: AccountReference) -> object:
    if reference.external_id is not None:
        return "external", reference.external_id
    return reference.id or reference.account_number
