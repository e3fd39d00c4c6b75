"""A sheet of a PDF and what is set on it: the parts that statements and evidence documents share.

Kept apart from everything else of the API, since it runs in processes of their own.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Final, cast

from fpdf import FPDF
from fpdf.enums import Align, MethodReturnValue, TextMode

from api.statements.pdf_fonts import MAIN_FONT, Typefaces

MARGIN: Final = 36.0
"""All lengths are points, of 1/72 inch."""
TEXT_SIZE: Final = 7.0
SMALL_SIZE: Final = 6.0
ROW_HEIGHT: Final = 13.5
LINE_HEIGHT: Final = 8.5
BASELINE: Final = 9.2
FOOTER_HEIGHT: Final = 34.0
GAP: Final = 6.0
DESCRIPTION_LINES_MAXIMUM: Final = 4
DESCRIPTION_CHARACTERS_MAXIMUM: Final = 200
"""More than those lines hold of most texts."""
SHAPED_CHARACTERS_MAXIMUM: Final = 120
"""The same for scripts whose lines take long to break."""
FIT_SIZE_MINIMUM: Final = 2.5
BOLD_STROKE: Final = 0.25
"""A heavier face is the one face with an outline: a second one costs seconds to make."""

PAGE_COUNT_MARK: Final = "\N{ZERO WIDTH SPACE}"
"""Begins what stands for the number of pages until that is known. No text of a client's has it."""

INK: Final = (28, 34, 45)
MUTED: Final = (105, 114, 128)
ACCENT: Final = (22, 78, 99)
HAIRLINE: Final = (218, 223, 229)
SHADE: Final = (243, 246, 248)


class Weight(Enum):
    """How heavy a text is."""

    REGULAR = TextMode.FILL
    BOLD = TextMode.FILL_STROKE


class PdfSheet:
    """Sets texts, fields and lines on the pages of a document.

    Parameters
    ----------
    pages_maximum
        Pages that the document has at most, for the room that their number takes.
    """

    def __init__(self, pages_maximum: int) -> None:
        self._pdf = pdf = FPDF(unit="pt", format="A4")
        pdf.set_auto_page_break(auto=False)
        pdf.set_margin(0)
        pdf.c_margin = 0
        # As wide as the count can be at most.
        self._page_count = PAGE_COUNT_MARK + "0" * len(str(pages_maximum))
        pdf.alias_nb_pages(self._page_count, align=Align.L)
        self._typefaces = Typefaces(pdf)
        self._y = 0.0
        self._ink = INK
        self._size = TEXT_SIZE
        pdf.set_font(MAIN_FONT, size=TEXT_SIZE)

    @property
    def _bottom(self) -> float:
        return float(self._pdf.h) - MARGIN - FOOTER_HEIGHT + 14

    def _title(self, issuer: str, title: str) -> float:
        """Begin the first page, and tell how far down its head reaches."""
        pdf = self._pdf
        pdf.set_fill_color(*ACCENT)
        pdf.rect(0, 0, pdf.w, 5, style="F")
        y = MARGIN + 14
        self._color(ACCENT)
        self._set_size(13)
        half = pdf.w / 2 - MARGIN - GAP
        self._any_text(MARGIN, y, self._shortened(issuer, half), Weight.BOLD)
        self._color(INK)
        self._set_size(16)
        self._right(pdf.w - MARGIN, y, title)
        return y + 34

    def _foot(self, text: str) -> None:
        """End a page: a line, a text, and the number of the page."""
        pdf = self._pdf
        y = pdf.h - MARGIN + 4
        self._rule(y - 11)
        self._color(MUTED)
        self._set_size(SMALL_SIZE)
        self._text(MARGIN, y, text)
        pdf.set_xy(MARGIN, y - _above_baseline(SMALL_SIZE))
        page = f"Page {pdf.page_no()} of {self._page_count}"
        pdf.cell(pdf.w - 2 * MARGIN, SMALL_SIZE, page, align=Align.R)

    def _wrapped(self, text: str, width: float) -> Sequence[str]:
        """Break a text into lines of a width; what is over the last is cut off with dots."""
        with_shaping = not self._typefaces.is_simple(text)
        maximum = SHAPED_CHARACTERS_MAXIMUM if with_shaping else DESCRIPTION_CHARACTERS_MAXIMUM
        if len(text) > maximum:
            text = text[:maximum].rstrip() + "…"
        if self._width(text) <= width:
            return [text]
        self._pdf.set_text_shaping(with_shaping)
        broken = self._pdf.multi_cell(
            width, text=text, align=Align.L, dry_run=True, output=MethodReturnValue.LINES
        )
        self._pdf.set_text_shaping(use_shaping_engine=False)
        lines = cast("list[str]", broken)
        if len(lines) > DESCRIPTION_LINES_MAXIMUM:
            rest = " ".join(lines[DESCRIPTION_LINES_MAXIMUM - 1 :])
            lines[DESCRIPTION_LINES_MAXIMUM - 1 :] = [self._shortened(rest, width)]
        return lines

    def _shortened(self, text: str, width: float) -> str:
        """Cut a text off with dots where it is wider than a width."""
        shown = self._typefaces.shown(text)
        if self._width(shown) <= width:
            return shown
        low, high = 0, len(shown)
        while low < high:
            middle = (low + high + 1) // 2
            if self._width(shown[:middle] + "…") <= width:
                low = middle
            else:
                high = middle - 1
        return shown[:low].rstrip() + "…"

    def _fitting(self, x: float, y: float, text: str, width: float, size: float) -> None:
        """Set a text as small as it must be to be whole."""
        needed = self._width(text)
        if needed <= width:
            self._text(x, y, text)
            return
        self._set_size(max(FIT_SIZE_MINIMUM, size * width / needed))
        self._text(x, y, text)
        self._set_size(size)

    def _width(self, text: str) -> float:
        if self._typefaces.is_simple(text):
            return self._typefaces.simple_width(text, self._size)
        self._pdf.set_text_shaping(use_shaping_engine=True)
        width = float(self._pdf.get_string_width(text))
        self._pdf.set_text_shaping(use_shaping_engine=False)
        return width

    def _right(self, right: float, y: float, text: str) -> None:
        self._text(right - self._width(text), y, text)

    def _text(self, x: float, y: float, text: str, weight: Weight = Weight.REGULAR) -> None:
        """Set a text of the main font: far cheaper than any text."""
        if weight is Weight.REGULAR:
            self._pdf.text(x, y, text)
            return
        with self._pdf.local_context(text_mode=weight.value, line_width=BOLD_STROKE):
            self._pdf.set_draw_color(*self._ink)
            self._pdf.text(x, y, text)

    def _any_text(self, x: float, y: float, text: str, weight: Weight = Weight.REGULAR) -> None:
        """Set a text of any script."""
        if self._typefaces.is_simple(text):
            self._text(x, y, text, weight)
            return
        width = self._width(text)
        self._pdf.set_xy(x, y - _above_baseline(self._size))
        self._pdf.set_text_shaping(use_shaping_engine=True)
        self._pdf.cell(width, self._size, text)
        self._pdf.set_text_shaping(use_shaping_engine=False)

    def _rule(self, y: float) -> None:
        self._pdf.line(MARGIN, y, self._pdf.w - MARGIN, y)

    def _color(self, color: tuple[int, int, int]) -> None:
        self._ink = color
        self._pdf.set_text_color(*color)
        # Where the two differ, every text would carry its own.
        self._pdf.set_fill_color(*color)

    def _set_size(self, size: float) -> None:
        if size != self._size:
            self._pdf.set_font_size(size)
            self._size = size

    def _field(self, x: float, y: float, label: str, text: str, width: float) -> None:
        self._color(MUTED)
        self._set_size(SMALL_SIZE)
        self._text(x, y, label)
        self._color(INK)
        self._set_size(10)
        self._any_text(x, y + 13, self._shortened(text, width))


def _above_baseline(size: float) -> float:
    """Tell how far above a text's baseline its cell begins, where that is as high as the text."""
    return 0.8 * size
