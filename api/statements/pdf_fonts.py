"""Fonts of a PDF: one for most texts, and those that are loaded once a text needs them."""

import unicodedata
from collections.abc import Container
from importlib.resources import files
from pathlib import Path
from typing import Final

from fpdf import FPDF
from fpdf.fonts import TTFFont

MAIN_FONT: Final = "Noto Sans"
REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
"""Stands where no font has a character. The main font has it."""

_MAIN_FILE: Final = "NotoSans[wght].ttf"
_ITALIC_FILE: Final = "NotoSans-Italic[wght].ttf"
_JOINERS: Final = frozenset("\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}")
_UNSEEN: Final = frozenset({"Cf", "Cc", "Cs"})
_BLANKS: Final = frozenset({"Zs", "Zl", "Zp"})
_VARIATION_SELECTORS: Final = range(0xFE00, 0xFE10)

# Letters that stand one after the other, each with one glyph of the main font.
_SIMPLE: Final = (
    range(0x20, 0x300),
    range(0x370, 0x483),
    range(0x1E00, 0x2000),
    range(0x2010, 0x2028),
    range(0x2030, 0x20D0),
)


class Typefaces:
    """Makes texts fit the fonts that there are.

    Parameters
    ----------
    pdf
        Gets the fonts.
    """

    def __init__(self, pdf: FPDF) -> None:
        self._pdf = pdf
        self._folder = Path(str(files("manimgx_fonts")))
        main = self._add(MAIN_FONT, self._folder / _MAIN_FILE)
        self._main, self._widths = main.cmap, main.cw
        self._covered: list[Container[int]] = [self._main]
        self._has_all = False
        self._shown: dict[str, str] = {}

    def shown(self, text: str) -> str:
        """Give a text as it can be shown.

        Notes
        -----
        A character that no font has becomes ``REPLACEMENT``. What cannot be seen is left out, and
        so are marks that turn the direction of writing: they would let a text look like another.
        """
        if text.isascii():
            return text
        return "".join(self._shown_character(character) for character in text)

    def simple_width(self, text: str, size: float) -> float:
        """Tell the width of a simple text: `FPDF.get_string_width` at a tenth of its time."""
        return sum(map(self._widths.__getitem__, map(ord, text))) * size * 0.001

    def is_simple(self, text: str) -> bool:
        """Tell whether a text needs the main font alone, without shaping."""
        return text.isascii() or all(
            any(ord(character) in part for part in _SIMPLE) and ord(character) in self._main
            for character in text
        )

    def _shown_character(self, character: str) -> str:
        shown = self._shown.get(character)
        if shown is None:
            shown = self._shown[character] = self._choose(character)
        return shown

    def _choose(self, character: str) -> str:
        category = unicodedata.category(character)
        if character not in _JOINERS and (
            category in _UNSEEN or ord(character) in _VARIATION_SELECTORS
        ):
            return ""
        if category in _BLANKS:
            return " "
        if ord(character) in self._main:
            return character
        if not self._has_all:
            self._add_others()
        is_covered = any(ord(character) in covered for covered in self._covered)
        return character if is_covered else REPLACEMENT

    def _add_others(self) -> None:
        self._has_all = True
        paths = [
            path
            for path in sorted(self._folder.glob("*.ttf"))
            if path.name not in {_MAIN_FILE, _ITALIC_FILE}
        ]
        # The largest last: the others have better forms of what they share.
        paths += sorted(Path(str(files("noto_cjk_sans_jp_regular"))).glob("*.otf"))
        names = [path.stem for path in paths]
        self._covered += [
            self._add(name, path).cmap for name, path in zip(names, paths, strict=True)
        ]
        self._pdf.set_fallback_fonts(names)

    def _add(self, name: str, path: Path) -> TTFFont:
        known = set(self._pdf.fonts)
        self._pdf.add_font(name, fname=path)
        (key,) = set(self._pdf.fonts) - known
        font = self._pdf.fonts[key]
        if not isinstance(font, TTFFont):
            raise TypeError(f"{path} holds no font to embed")
        return font
