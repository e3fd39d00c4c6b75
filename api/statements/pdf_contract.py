"""What the API's process hands to the program that makes a PDF.

Kept apart from that program: the API does without the packages that set type.
"""

from dataclasses import dataclass
from datetime import datetime

from domain.money import Currency


@dataclass(frozen=True, slots=True)
class PdfHead:
    """What stands around the lines of a statement."""

    issuer: str
    holder: str | None
    account_number: str
    external_id: str | None
    currency: Currency
    from_at: datetime
    to_at: datetime
    generated_at: datetime
    opening_minor: int
    closing_minor: int
    debits_minor: int
    credits_minor: int
    debit_count: int
    credit_count: int
    largest_balance_minor: int


@dataclass(frozen=True, slots=True)
class PdfLine:
    """One entry; ``amount_minor`` is below zero for a debit."""

    created_at: datetime
    effective_at: datetime
    type: str
    description: str | None
    counterparty_number: str | None
    amount_minor: int
    balance_minor: int
