"""A statement as pages of a PDF.

Kept apart from everything else of the API, since it runs in a process of its own: see
``api.statements.pdf_program``.
"""

from dataclasses import dataclass
from typing import Final

from fpdf.enums import PageOrientation

from api.statements.pdf_contract import PdfHead, PdfLine
from api.statements.pdf_sheet import (
    ACCENT,
    BASELINE,
    GAP,
    HAIRLINE,
    INK,
    LINE_HEIGHT,
    MARGIN,
    MUTED,
    ROW_HEIGHT,
    SHADE,
    SMALL_SIZE,
    TEXT_SIZE,
    PdfSheet,
    Weight,
)

MONEY_WIDTH_MINIMUM: Final = 58.0
DESCRIPTION_WIDTH_MINIMUM: Final = 95.0
ROWS_OF_A_PAGE_MINIMUM: Final = 9

NOBODY: Final = "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    left: float
    width: float
    is_amount: bool = False

    @property
    def right(self) -> float:
        return self.left + self.width


class PdfStatement(PdfSheet):
    """Sets a statement, line by line.

    Notes
    -----
    Keeps the text of the pages that are done, some 500 bytes a line, and nothing else of the lines.
    """

    def __init__(self, head: PdfHead) -> None:
        self._head = head
        self._money = head.currency
        super().__init__(2 + (head.debit_count + head.credit_count) // ROWS_OF_A_PAGE_MINIMUM)
        self._describe()
        self._orientation, self._columns = self._lay_out()
        self._balance_minor = head.opening_minor
        self._begin_first_page()

    def add(self, line: PdfLine) -> None:
        """Set one line, on a new page where this one is full."""
        column = self._columns
        shown = self._typefaces.shown(line.description or "")
        description = self._wrapped(shown, column["Description"].width)
        height = ROW_HEIGHT + LINE_HEIGHT * (len(description) - 1)
        # Room for the line that carries the balance forward.
        if self._y + height + ROW_HEIGHT > self._bottom:
            self._end_page()
            self._begin_further_page()
        base = self._y + BASELINE
        self._text(column["Recorded"].left, base, f"{line.created_at:%Y-%m-%d %H:%M}")
        self._text(column["Effective"].left, base, f"{line.effective_at:%Y-%m-%d}")
        self._text(column["Type"].left, base, line.type.capitalize())
        for number, part in enumerate(description):
            self._any_text(column["Description"].left, base + number * LINE_HEIGHT, part)
        number_text = _grouped(line.counterparty_number) if line.counterparty_number else NOBODY
        self._text(column["Counterparty"].left, base, number_text)
        side = "Debit" if line.amount_minor < 0 else "Credit"
        self._amount(column[side], base, abs(line.amount_minor))
        self._amount(column["Balance"], base, line.balance_minor)
        self._y += height
        self._rule(self._y)
        self._balance_minor = line.balance_minor

    def write(self) -> bytearray:
        """Set the end, and give the document."""
        head = self._head
        if not head.debit_count + head.credit_count:
            self._color(MUTED)
            self._text(MARGIN, self._y + BASELINE, "No entries in this period.")
            self._y += ROW_HEIGHT
        if self._y + 3 * ROW_HEIGHT > self._bottom:
            self._end_page()
            self._begin_further_page()
        self._pdf.set_fill_color(*SHADE)
        self._pdf.rect(MARGIN, self._y, self._pdf.w - 2 * MARGIN, 2 * ROW_HEIGHT, style="F")
        self._total_row("Totals", debits=True)
        self._total_row("Closing balance", balance_minor=head.closing_minor)
        self._color(MUTED)
        self._set_size(SMALL_SIZE)
        self._text(MARGIN, self._y + BASELINE + 2, "End of statement.")
        self._footer()
        return self._pdf.output()

    def _describe(self) -> None:
        """Say what the document is, for viewers and for search."""
        head, pdf = self._head, self._pdf
        period = f"{head.from_at:%Y-%m-%d} to {head.to_at:%Y-%m-%d}"
        pdf.set_title(f"Account statement {_grouped(head.account_number)}, {period}")
        pdf.set_author(head.issuer)
        pdf.set_subject(f"Statement of account {head.account_number} in {head.currency.code}")
        pdf.set_keywords(f"statement, {head.account_number}, {head.currency.code}")
        pdf.set_creator("Durable transfers")
        pdf.set_lang("en")
        pdf.set_creation_date(head.generated_at)

    def _lay_out(self) -> tuple[PageOrientation, dict[str, _Column]]:
        """Choose columns, and the long side for the width where the amounts need it."""
        head = self._head
        largest = max(map(abs, (head.opening_minor, head.closing_minor)))
        largest = max(largest, head.largest_balance_minor)
        amounts = (head.debits_minor, head.credits_minor, -largest)
        money = [
            max(MONEY_WIDTH_MINIMUM, self._width(self._decimal(amount)) + GAP) for amount in amounts
        ]
        fixed = {"Recorded": 66.0, "Effective": 46.0, "Type": 48.0, "Counterparty": 78.0}
        orientation = PageOrientation.PORTRAIT
        room = min(self._pdf.w, self._pdf.h) - 2 * MARGIN - sum(fixed.values())
        if room - sum(money) < DESCRIPTION_WIDTH_MINIMUM:
            orientation = PageOrientation.LANDSCAPE
            room = max(self._pdf.w, self._pdf.h) - 2 * MARGIN - sum(fixed.values())
        most = (room - DESCRIPTION_WIDTH_MINIMUM) / 3
        if sum(money) > room - DESCRIPTION_WIDTH_MINIMUM:
            money = [most] * 3
        widths = {
            "Recorded": fixed["Recorded"],
            "Effective": fixed["Effective"],
            "Type": fixed["Type"],
            "Description": room - sum(money),
            "Counterparty": fixed["Counterparty"],
            **dict(zip(("Debit", "Credit", "Balance"), money, strict=True)),
        }
        columns: dict[str, _Column] = {}
        left = MARGIN
        for name, width in widths.items():
            is_amount = name in {"Debit", "Credit", "Balance"}
            columns[name] = _Column(name, left, width if is_amount else width - GAP, is_amount)
            left += width
        return orientation, columns

    def _begin_first_page(self) -> None:
        self._add_page()
        self._letterhead()
        self._summary()
        self._table_head()
        self._balance_row("Opening balance", self._head.opening_minor)

    def _begin_further_page(self) -> None:
        self._add_page()
        head = self._head
        self._y = MARGIN
        self._color(MUTED)
        self._set_size(TEXT_SIZE)
        whose = head.holder or "Settlement account"
        self._any_text(MARGIN, self._y + BASELINE, self._shortened(whose, self._pdf.w / 2))
        number = f"{_grouped(head.account_number)}   {head.currency.code}"
        self._right(self._pdf.w - MARGIN, self._y + BASELINE, number)
        self._y += ROW_HEIGHT + 4
        self._table_head()
        self._balance_row("Brought forward", self._balance_minor)

    def _end_page(self) -> None:
        self._balance_row("Carried forward", self._balance_minor)
        self._footer()

    def _add_page(self) -> None:
        self._pdf.add_page(orientation=self._orientation.value)
        self._size = 0.0
        self._set_size(TEXT_SIZE)

    def _letterhead(self) -> None:
        head, pdf = self._head, self._pdf
        half = pdf.w / 2 - MARGIN - GAP
        y = self._title(head.issuer, "Account statement")
        self._field(MARGIN, y, "Account holder", head.holder or "Settlement account", half)
        period = f"{head.from_at:%Y-%m-%d %H:%M} to {head.to_at:%Y-%m-%d %H:%M}"
        self._field(pdf.w / 2, y, "Period (UTC)", period, half)
        y += 30
        self._field(MARGIN, y, "Account number", _grouped(head.account_number), half)
        generated = f"{head.generated_at:%Y-%m-%d %H:%M:%S}"
        self._field(pdf.w / 2, y, "Generated (UTC)", generated, half / 2)
        currency = f"{head.currency.code} ({head.currency.name})"
        self._field(pdf.w / 2 + half / 2, y, "Currency", currency, half / 2)
        if head.external_id is not None:
            y += 30
            self._field(MARGIN, y, "Reference", head.external_id, half)
        self._y = y + 26

    def _summary(self) -> None:
        head, pdf = self._head, self._pdf
        boxes = (
            ("Opening balance", head.opening_minor),
            (f"Credits ({head.credit_count:,})", head.credits_minor),
            (f"Debits ({head.debit_count:,})", head.debits_minor),
            ("Closing balance", head.closing_minor),
        )
        width = (pdf.w - 2 * MARGIN) / len(boxes)
        pdf.set_fill_color(*SHADE)
        pdf.rect(MARGIN, self._y, pdf.w - 2 * MARGIN, 36, style="F")
        for number, (label, amount_minor) in enumerate(boxes):
            x = MARGIN + number * width + 9
            self._color(MUTED)
            self._set_size(SMALL_SIZE)
            self._text(x, self._y + 13, label)
            self._color(ACCENT if number in {0, len(boxes) - 1} else INK)
            self._set_size(10)
            self._fitting(x, self._y + 27, self._decimal(amount_minor), width - 14, 10)
        self._y += 36 + 14

    def _table_head(self) -> None:
        self._color(MUTED)
        self._set_size(SMALL_SIZE)
        titles = {"Recorded": "Recorded (UTC)"}
        for column in self._columns.values():
            title = titles.get(column.name, column.name)
            if column.is_amount:
                self._right(column.right, self._y + BASELINE, title)
            else:
                self._text(column.left, self._y + BASELINE, title)
        self._y += ROW_HEIGHT
        self._pdf.set_draw_color(*ACCENT)
        self._pdf.set_line_width(0.8)
        self._pdf.line(MARGIN, self._y, self._pdf.w - MARGIN, self._y)
        self._set_size(TEXT_SIZE)
        self._color(INK)
        self._pdf.set_draw_color(*HAIRLINE)
        self._pdf.set_line_width(0.4)

    def _balance_row(self, label: str, balance_minor: int) -> None:
        self._color(MUTED)
        self._text(self._columns["Recorded"].left, self._y + BASELINE, label)
        self._amount(self._columns["Balance"], self._y + BASELINE, balance_minor)
        self._color(INK)
        self._y += ROW_HEIGHT
        self._rule(self._y)

    def _total_row(
        self, label: str, *, debits: bool = False, balance_minor: int | None = None
    ) -> None:
        base = self._y + BASELINE
        self._color(INK)
        self._set_size(TEXT_SIZE)
        self._text(MARGIN + 3, base, label, Weight.BOLD)
        if debits:
            self._amount(self._columns["Debit"], base, self._head.debits_minor)
            self._amount(self._columns["Credit"], base, self._head.credits_minor)
        if balance_minor is not None:
            self._amount(self._columns["Balance"], base, balance_minor, Weight.BOLD)
        self._y += ROW_HEIGHT

    def _footer(self) -> None:
        head = self._head
        self._foot(
            f"Entries in the order of recording; amounts in {head.currency.code}. "
            f"Generated {head.generated_at:%Y-%m-%d %H:%M:%S} UTC."
        )

    def _amount(
        self, column: _Column, y: float, amount_minor: int, weight: Weight = Weight.REGULAR
    ) -> None:
        text = self._decimal(amount_minor)
        width = self._width(text)
        room = column.width - GAP
        if width > room:
            self._fitting(column.right - room, y, text, room, TEXT_SIZE)
        else:
            self._text(column.right - width, y, text, weight)

    def _decimal(self, amount_minor: int) -> str:
        return self._money.decimal(amount_minor, grouped=True)


def _grouped(account_number: str) -> str:
    """Write an account number in groups of four digits."""
    return " ".join(account_number[at : at + 4] for at in range(0, len(account_number), 4))
