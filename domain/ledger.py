"""Double-entry ledger: CREDIT raises and DEBIT lowers a balance, on every kind of account."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.ids import AccountId, EntryId, TenantId, TransferId


class EntryDirection(StrEnum):
    """Which way an entry changes its account's balance."""

    DEBIT = "DEBIT"
    CREDIT = "CREDIT"

    def signed(self, amount_minor: int) -> int:
        """Give the change of balance that an entry of this direction makes."""
        return amount_minor if self is EntryDirection.CREDIT else -amount_minor


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One side of a posting, with the balance that resulted.

    Parameters
    ----------
    sequence
        1 for an account's first entry, and without gaps from there.
    balance_after_minor
        The account's posted balance right after this entry, in minor units.
    effective_at
        When the money counts; ``created_at`` is when it was recorded.
    """

    id: EntryId
    tenant_id: TenantId
    transfer_id: TransferId
    account_id: AccountId
    sequence: int
    direction: EntryDirection
    amount_minor: int
    currency: str
    balance_after_minor: int
    effective_at: datetime
    created_at: datetime
