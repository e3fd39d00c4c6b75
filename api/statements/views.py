"""What a statement looks like in JSON."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field

from api.account_schemas import EntryView
from domain.accounts import AccountKind
from domain.statements import StatementAccount, StatementLine, StatementSummary
from domain.transfers import TransferType


class StatementAccountView(BaseModel):
    """Whose statement it is."""

    id: UUID
    account_number: str
    external_id: str | None
    kind: AccountKind
    currency: str
    exponent: int = Field(description="decimal places between the major and the minor unit")
    holder: str | None = Field(description="name of the owner; null for SYSTEM accounts")

    @staticmethod
    def of(account: StatementAccount) -> "StatementAccountView":
        """Show an account."""
        return StatementAccountView(
            id=account.id,
            account_number=account.account_number,
            external_id=account.external_id,
            kind=account.kind,
            currency=account.currency.code,
            exponent=account.currency.exponent,
            holder=account.holder,
        )


class StatementEntryView(EntryView):
    """One entry, with what its transfer tells of it."""

    type: TransferType
    description: str | None
    counterparty_id: UUID | None
    counterparty_account_number: str | None

    @staticmethod
    def of_line(line: StatementLine) -> "StatementEntryView":
        """Show a line."""
        entry = line.entry
        # Not validated once more: 100,000 of them come from the database.
        return StatementEntryView.model_construct(
            id=entry.id,
            account_id=entry.account_id,
            transfer_id=entry.transfer_id,
            sequence=entry.sequence,
            direction=entry.direction,
            amount=entry.amount_minor,
            currency=entry.currency,
            balance_after=entry.balance_after_minor,
            effective_at=entry.effective_at,
            created_at=entry.created_at,
            type=line.transfer_type,
            description=line.description,
            counterparty_id=line.counterparty_id,
            counterparty_account_number=line.counterparty_number,
        )


class StatementHeadView(BaseModel):
    """A statement without its entries. Amounts are integers of minor units."""

    account: StatementAccountView
    from_: datetime = Field(
        serialization_alias="from", description="inclusive, by the entries' created_at"
    )
    to: datetime = Field(description="exclusive, by the entries' created_at")
    generated_at: datetime
    opening_balance: int = Field(description="posted, before the first entry")
    closing_balance: int = Field(description="opening_balance + total_credits - total_debits")
    total_debits: int
    total_credits: int
    debit_count: int
    credit_count: int

    @staticmethod
    def of(summary: StatementSummary) -> "StatementHeadView":
        """Show a summary."""
        return StatementHeadView(
            account=StatementAccountView.of(summary.account),
            from_=summary.from_at,
            to=summary.to_at,
            generated_at=summary.generated_at,
            opening_balance=summary.opening_minor,
            closing_balance=summary.closing_minor,
            total_debits=summary.totals.debits_minor,
            total_credits=summary.totals.credits_minor,
            debit_count=summary.totals.debit_count,
            credit_count=summary.totals.credit_count,
        )


class StatementView(StatementHeadView):
    """A statement. Its entries are in the order of recording, oldest first."""

    entries: list[StatementEntryView]
