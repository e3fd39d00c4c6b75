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


class Directory:
    """Accounts by every name that a request can give them, as far as they have been looked up.

    Notes
    -----
    What it knows of an account never changes. It lives as long as some chunks of one batch.
    """

    def __init__(self) -> None:
        self._by_name: dict[object, AccountIdentity] = {}

    def unknown(
        self, requests: Sequence[TransferRequest]
    ) -> tuple[set[AccountReference], set[str]]:
        """Name the accounts, and the currencies of settlement accounts, that are to be found."""
        references = set[AccountReference]()
        currencies = set[str]()
        for request in requests:
            for name, reference in _sides(request):
                if name not in self._by_name:
                    if reference is None:
                        currencies.add(request.money.currency)
                    else:
                        references.add(reference)
        return references, currencies

    def add(self, accounts: Sequence[AccountIdentity]) -> None:
        """Take note of accounts that were found."""
        for account in accounts:
            self._by_name[account.id] = self._by_name[account.account_number] = account
            if account.external_id is not None:
                self._by_name["external", account.external_id] = account
            if account.kind is AccountKind.SYSTEM:
                self._by_name["settlement", account.currency] = account

    def meant_by(self, request: TransferRequest) -> list[AccountIdentity]:
        """Give the accounts that a request may mean."""
        found = (self._by_name.get(name) for name, _reference in _sides(request))
        return [account for account in found if account is not None]


def prepare_rows(
    tenant_id: TenantId,
    requests: Sequence[TransferRequest],
    rows: Sequence[BatchRow],
    directory: Directory,
) -> list[PreparedRow]:
    """Check rows against the accounts found, as ``TransferRequestService.prepare`` does."""
    return [
        _prepared(tenant_id, row, request, directory)
        for row, request in zip(rows, requests, strict=True)
    ]


def _sides(request: TransferRequest) -> Iterator[tuple[object, AccountReference | None]]:
    for reference in (request.source, request.destination):
        if reference is None:
            yield ("settlement", request.money.currency), None
        elif reference.external_id is not None:
            yield ("external", reference.external_id), reference
        else:
            yield reference.id or reference.account_number, reference


def _prepared(
    tenant_id: TenantId, row: BatchRow, request: TransferRequest, directory: Directory
) -> PreparedRow:
    try:
        source, destination = identify_sides(request, directory.meant_by(request))
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
