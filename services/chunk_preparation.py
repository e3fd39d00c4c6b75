"""What the rows of a chunk mean, found out before any money is looked at."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from domain.accounts import AccountKind, AccountReference
from domain.batches import StagedRow, reference_in, request_of
from domain.errors import DomainError, SameAccount
from domain.ids import AccountId
from domain.transfers import Failure
from persistence.accounts import AccountIdentity
from persistence.batch_statements import NewTransfer
from services.idempotency import fingerprint_of_plain
from services.transfer_sides import identify_sides


class PreparedRow(NamedTuple):
    """A row whose accounts are found, as it stands before any money is looked at."""

    row: StagedRow
    source: AccountId
    destination: AccountId
    fingerprint: bytes

    def transfer(self, failure: Failure | None) -> NewTransfer:
        """Give the transfer that it becomes."""
        return NewTransfer(
            self.row.position, self.fingerprint, self.source, self.destination, failure
        )


class RefusedRow(NamedTuple):
    """A row for which nothing will be recorded, and why."""

    row: StagedRow
    refusal: DomainError


class Directory:
    """Accounts by every name that a request can give them, as far as they have been looked up.

    Notes
    -----
    What it knows of an account never changes. It lives as long as some chunks of one batch.
    """

    def __init__(self) -> None:
        self._by_name: dict[object, AccountIdentity] = {}
        # Accounts that a row was right to name as this side in this currency.
        self._sources: dict[tuple[str | None, str], AccountIdentity] = {}
        self._destinations: dict[tuple[str | None, str], AccountIdentity] = {}

    def unknown(self, rows: Sequence[StagedRow]) -> tuple[set[AccountReference], set[str]]:
        """Name the accounts, and the currencies of settlement accounts, that are to be found."""
        references = set[AccountReference]()
        currencies = set[str]()
        for row in rows:
            if (row.source, row.currency) in self._sources and (
                row.destination,
                row.currency,
            ) in self._destinations:
                continue
            for name, reference in _sides(row):
                if name not in self._by_name:
                    if reference is None:
                        currencies.add(row.currency)
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

    def sides(self, row: StagedRow) -> tuple[AccountIdentity, AccountIdentity]:
        """Give the source and the destination of a row.

        Raises
        ------
        DomainError
            As ``identify_sides``.
        """
        currency = row.currency
        source = self._sources.get((row.source, currency))
        destination = self._destinations.get((row.destination, currency))
        if source is None or destination is None:
            source, destination = identify_sides(request_of(row), self._meant_by(row))
            self._sources[row.source, currency] = source
            self._destinations[row.destination, currency] = destination
        elif source.id == destination.id:
            raise SameAccount
        return source, destination

    def _meant_by(self, row: StagedRow) -> list[AccountIdentity]:
        """Give the accounts that a row may mean."""
        found = (self._by_name.get(name) for name, _reference in _sides(row))
        return [account for account in found if account is not None]


def prepare_rows(rows: Sequence[StagedRow], directory: Directory) -> list[PreparedRow | RefusedRow]:
    """Check rows against the accounts found, as ``TransferRequestService.prepare`` does."""
    return [_prepared(row, directory) for row in rows]


def _sides(row: StagedRow) -> Iterator[tuple[object, AccountReference | None]]:
    for text in (row.source, row.destination):
        reference = reference_in(text)
        if reference is None:
            yield ("settlement", row.currency), None
        elif reference.external_id is not None:
            yield ("external", reference.external_id), reference
        else:
            yield reference.id or reference.account_number, reference


def _prepared(row: StagedRow, directory: Directory) -> PreparedRow | RefusedRow:
    try:
        source, destination = directory.sides(row)
    except DomainError as refusal:
        return RefusedRow(row, refusal)
    fingerprint = fingerprint_of_plain(row, source=source.id, destination=destination.id)
    return PreparedRow(row, source.id, destination.id, fingerprint)
