"""Statements as values and as text."""

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from api.routes.statements import accepted_format
from api.statements.sending import file_name
from api.statements.texts import StatementCsv, StatementJson, harmless_text
from domain.accounts import AccountKind
from domain.errors import ValidationFailed
from domain.ids import AccountId, EntryId, TenantId, TransferId
from domain.ledger import EntryDirection, LedgerEntry
from domain.money import Currency
from domain.statements import (
    StatementAccount,
    StatementFormat,
    StatementLine,
    StatementPeriod,
    StatementSummary,
    StatementTotals,
)
from domain.transfers import TransferType

DAY_1, DAY_2 = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
ACCOUNT = AccountId(UUID(int=1))
EUR, JPY, KWD = Currency("EUR", 2, "Euro"), Currency("JPY", 0, "Yen"), Currency("KWD", 3, "Dinar")


def summary(*, closing_minor: int = 70, currency: Currency = EUR) -> StatementSummary:
    account = StatementAccount(
        id=ACCOUNT,
        account_number="1234567890123456",
        external_id=None,
        kind=AccountKind.CUSTOMER,
        currency=currency,
        holder="Ada",
        issuer="Bank",
    )
    totals = StatementTotals(
        debits_minor=30, credits_minor=0, debit_count=1, credit_count=0, largest_balance_minor=70
    )
    return StatementSummary(account, DAY_1, DAY_2, DAY_2, 100, closing_minor, totals)


def line(description: str | None = "Rent") -> StatementLine:
    entry = LedgerEntry(
        id=EntryId(UUID(int=2)),
        tenant_id=TenantId(UUID(int=3)),
        transfer_id=TransferId(UUID(int=4)),
        account_id=ACCOUNT,
        sequence=7,
        direction=EntryDirection.DEBIT,
        amount_minor=30,
        currency="EUR",
        balance_after_minor=70,
        effective_at=DAY_1,
        created_at=DAY_1,
    )
    return StatementLine(entry, TransferType.INTERNAL, description, None, None)


def test_a_period_does_not_end_before_it_begins() -> None:
    StatementPeriod(DAY_1, DAY_1)
    with pytest.raises(ValidationFailed) as failed:
        StatementPeriod(DAY_2, DAY_1)
    assert [problem.field for problem in failed.value.problems] == ["from"]


def test_a_statement_that_does_not_add_up_is_none() -> None:
    with pytest.raises(ValueError, match="does not add up"):
        summary(closing_minor=71)


@pytest.mark.parametrize(
    ("currency", "amount_minor", "plain", "grouped"),
    [
        (EUR, 123_456_789, "1234567.89", "1,234,567.89"),
        (EUR, -5, "-0.05", "-0.05"),
        (JPY, -1_234, "-1234", "-1,234"),
        (JPY, 0, "0", "0"),
        (KWD, 1, "0.001", "0.001"),
        (EUR, 10**38, "1" + "0" * 36 + ".00", f"{10**36:,}.00"),
    ],
)
def test_a_decimal_has_the_places_of_its_currency(
    currency: Currency, amount_minor: int, plain: str, grouped: str
) -> None:
    assert currency.decimal(amount_minor) == plain
    assert currency.decimal(amount_minor, grouped=True) == grouped


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@A", "\t=1", "\uff1d1", "'=1", "''-1"])
def test_a_text_that_looks_like_a_formula_gets_an_apostrophe(text: str) -> None:
    assert harmless_text(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "Rent", "1-1", "'quoted'", " =1", "a=b", "€"])
def test_any_other_text_stays_as_it_is(text: str) -> None:
    assert harmless_text(text) == text


def test_json_is_whole_however_its_lines_come() -> None:
    whole = StatementJson(summary())
    text = whole.beginning() + whole.lines([line()]) + whole.lines([line(None)]) + whole.end()
    found = json.loads(text)
    assert [entry["description"] for entry in found["entries"]] == ["Rent", None]
    assert found["from"] == "2026-01-01T00:00:00Z"
    empty = StatementJson(summary())
    assert json.loads(empty.beginning() + empty.end())["entries"] == []


def test_csv_quotes_what_must_be_quoted() -> None:
    text = StatementCsv(summary()).lines([line('a,"b"')])
    assert text == (
        "ENTRY,1234567890123456,EUR,7,2026-01-01T00:00:00Z,2026-01-01T00:00:00Z,"
        '00000000-0000-0000-0000-000000000004,INTERNAL,"a,""b""",,DEBIT,,30,0.30,70,0.70\r\n'
    )


def test_a_file_is_named_for_its_account_and_period() -> None:
    name = file_name(StatementFormat.PDF, summary())
    assert name == "statement-1234567890123456-2026-01-01-2026-01-02.pdf"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "json"),
        ("", "json"),
        ("*/*", "json"),
        ("application/pdf", "pdf"),
        ("TEXT/CSV; charset=utf-8", "csv"),
        ("application/json;q=0.1, application/pdf;q=0.2", "pdf"),
        ("application/pdf;q=0", "json"),
        ("application/pdf;q=x, text/csv;q=0.1", "csv"),
        (",;,", "json"),
    ],
)
def test_the_best_liked_media_type_chooses_the_format(accept: str | None, expected: str) -> None:
    assert accepted_format(accept) == expected
