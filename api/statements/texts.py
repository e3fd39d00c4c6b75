"""Statements as JSON and CSV, a piece at a time."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

from api.statements.views import StatementEntryView, StatementHeadView
from domain.ledger import EntryDirection
from domain.statements import StatementLine, StatementSummary

CSV_COLUMNS: Final = (
    "kind",
    "account_number",
    "currency",
    "sequence",
    "created_at",
    "effective_at",
    "transfer_id",
    "type",
    "description",
    "counterparty_account_number",
    "direction",
    "count",
    "amount_minor",
    "amount",
    "balance_minor",
    "balance",
)
"""Columns of the CSV. ``kind`` is OPENING for the first row, ENTRY for each entry, then TOTAL for
the debits and for the credits, and CLOSING for the last."""

_LOOKS_LIKE_FORMULA: Final = re.compile(r"'*[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]")


class StatementText(Protocol):
    """Writes a statement as text: its beginning, its lines some at a time, its end."""

    def beginning(self) -> str:
        """Give what stands before the lines."""

    def lines(self, lines: Sequence[StatementLine]) -> str:
        """Give further lines."""

    def end(self) -> str:
        """Give what stands behind the lines."""


class StatementJson:
    """A statement as one JSON object, with ``entries`` as its last member."""

    def __init__(self, summary: StatementSummary) -> None:
        self._summary = summary
        self._separator = ""

    def beginning(self) -> str:
        """Give all members but the entries."""
        head = StatementHeadView.of(self._summary).model_dump_json(by_alias=True)
        return head.removesuffix("}") + ',"entries":['

    def lines(self, lines: Sequence[StatementLine]) -> str:
        """Give further entries."""
        entries = ",".join(StatementEntryView.of_line(line).model_dump_json() for line in lines)
        separator, self._separator = self._separator, ","
        return separator + entries

    def end(self) -> str:
        """Close what is open."""
        return "]}"


class StatementCsv:
    """A statement as CSV of RFC 4180: comma, CRLF, quotes where needed, a header row, UTF-8."""

    def __init__(self, summary: StatementSummary) -> None:
        self._summary = summary
        self._currency = summary.account.currency

    def beginning(self) -> str:
        """Give the header and the opening balance."""
        opening = {
            "kind": "OPENING",
            "created_at": _time(self._summary.from_at),
            **self._balance(self._summary.opening_minor),
        }
        return _rows([dict(zip(CSV_COLUMNS, CSV_COLUMNS, strict=True)), self._own(opening)])

    def lines(self, lines: Sequence[StatementLine]) -> str:
        """Give further entries."""
        return _rows(self._own(self._entry(line)) for line in lines)

    def end(self) -> str:
        """Give the totals and the closing balance."""
        totals = self._summary.totals
        closing = {
            "kind": "CLOSING",
            "created_at": _time(self._summary.to_at),
            "count": self._summary.entry_count,
            **self._balance(self._summary.closing_minor),
        }
        rows = [
            self._total(EntryDirection.DEBIT, totals.debit_count, totals.debits_minor),
            self._total(EntryDirection.CREDIT, totals.credit_count, totals.credits_minor),
            closing,
        ]
        return _rows(map(self._own, rows))

    def _entry(self, line: StatementLine) -> dict[str, Any]:
        entry = line.entry
        return {
            "kind": "ENTRY",
            "sequence": entry.sequence,
            "created_at": _time(entry.created_at),
            "effective_at": _time(entry.effective_at),
            "transfer_id": entry.transfer_id,
            "type": line.transfer_type,
            "description": harmless_text(line.description or ""),
            "counterparty_account_number": line.counterparty_number,
            "direction": entry.direction,
            **self._amount(entry.amount_minor),
            **self._balance(entry.balance_after_minor),
        }

    def _total(self, direction: EntryDirection, count: int, amount_minor: int) -> dict[str, Any]:
        return {
            "kind": "TOTAL",
            "direction": direction,
            "count": count,
            **self._amount(amount_minor),
        }

    def _own(self, row: dict[str, Any]) -> dict[str, Any]:
        account = self._summary.account
        row["account_number"] = account.account_number
        row["currency"] = account.currency.code
        return row

    def _amount(self, amount_minor: int) -> Mapping[str, Any]:
        return {"amount_minor": amount_minor, "amount": self._currency.decimal(amount_minor)}

    def _balance(self, balance_minor: int) -> Mapping[str, Any]:
        return {"balance_minor": balance_minor, "balance": self._currency.decimal(balance_minor)}


def harmless_text(text: str) -> str:
    """Keep a spreadsheet from taking a client's text for a formula: put an apostrophe before it.

    Notes
    -----
    Only where a text begins with one of ``= + - @``, a tab, a carriage return or the wide forms of
    the first four, behind any apostrophes: taking one apostrophe off such a text gives it back.
    """
    return f"'{text}" if _LOOKS_LIKE_FORMULA.match(text) else text


def _rows(rows: Iterable[Mapping[str, Any]]) -> str:
    # The dialect `excel` is that of RFC 4180.
    buffer = io.StringIO(newline="")
    csv.DictWriter(buffer, CSV_COLUMNS, restval="").writerows(rows)
    return buffer.getvalue()


def _time(moment: datetime) -> str:

    return moment.isoformat().replace("+00:00", "Z")
