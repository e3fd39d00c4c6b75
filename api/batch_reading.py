"""The rows of a batch's body, one after the other: JSON, NDJSON or CSV, never all at once."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import IO, Any, Final

from domain.errors import FieldProblem, ValidationFailed
from domain.limits import BATCH_ROW_CHARACTERS_MAXIMUM

PIECE_CHARACTERS: Final = 256 * 1024
ROWS_FIELD: Final = "transfers"
CSV_COLUMNS: Final = (
    "idempotency_key",
    "amount",
    "currency",
    "type",
    "source",
    "destination",
    "description",
    "metadata",
    "effective_at",
)
CSV_COLUMNS_REQUIRED: Final = CSV_COLUMNS[:3]

_DECODER: Final = json.JSONDecoder()
_SPACE: Final = " \t\n\r"


class MalformedBody(Exception):
    """The body is not of its content type."""


@dataclass(slots=True)
class JsonRows:
    """The rows of ``{"transfers": [...], ...}``, and its other fields.

    Parameters
    ----------
    others
        Complete once the rows have been gone through.

    Notes
    -----
    Each row is read by the decoder of the standard library, as a single request's body is: whole
    numbers stay exact, however large.
    """

    file: IO[str]
    others: dict[str, Any] = field(default_factory=dict)
    _text: str = ""
    _at: int = 0

    def __iter__(self) -> Iterator[Any]:
        """Go through the rows."""
        self._expect("{")
        seen = False
        for _ in self._until("}"):
            name = self._value()
            self._expect(":")
            if name == ROWS_FIELD and not seen:
                seen = True
                self._expect("[")
                for _ in self._until("]"):
                    yield self._value()
            elif isinstance(name, str) and name not in self.others and name != ROWS_FIELD:
                self.others[name] = self._value()
            else:
                raise MalformedBody
        if self._peek():
            raise MalformedBody

    def _until(self, end: str) -> Iterator[None]:
        """Go through what stands between commas, up to a closing bracket."""
        if self._peek() == end:
            self._at += 1
            return
        while True:
            yield
            mark = self._peek()
            self._at += 1
            if mark == end:
                return
            if mark != ",":
                raise MalformedBody

    def _expect(self, mark: str) -> None:
        if self._peek() != mark:
            raise MalformedBody
        self._at += 1

    def _peek(self) -> str:
        """Give the next character that is no space, without taking it; none at the end."""
        while True:
            while self._at < len(self._text):
                character = self._text[self._at]
                if character not in _SPACE:
                    return character
                self._at += 1
            if not self._read_on():
                return ""

    def _value(self) -> Any:
        """Read the next value; one that reaches the text's end may go on behind it."""
        self._peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                too_long = (
                    len(self._text) - self._at > BATCH_ROW_CHARACTERS_MAXIMUM + PIECE_CHARACTERS
                )
                if isinstance(error, RecursionError) or too_long or not self._read_on():
                    raise MalformedBody from None
            else:
                length = end - self._at
                if length > BATCH_ROW_CHARACTERS_MAXIMUM:
                    raise MalformedBody
                if end < len(self._text) or not self._read_on():
                    self._at += length
                    return value

    def _read_on(self) -> bool:
        piece = self.file.read(PIECE_CHARACTERS)
        self._text = self._text[self._at :] + piece
        self._at = 0
        return bool(piece)


def ndjson_rows(file: IO[str]) -> Iterator[Any]:
    """Read one row a line; blank lines are skipped."""
    while line := file.readline(BATCH_ROW_CHARACTERS_MAXIMUM + 1):
        if len(line) > BATCH_ROW_CHARACTERS_MAXIMUM:
            raise MalformedBody
        if not line.isspace():
            try:
                yield json.loads(line)
            except (ValueError, RecursionError):
                raise MalformedBody from None


def csv_rows(file: IO[str]) -> Iterator[Any]:
    """Read rows below a header; an empty field is one that is left out.

    Raises
    ------
    ValidationFailed
        The header lacks a column, or has one that is not known or stands twice.
    """
    csv.field_size_limit(BATCH_ROW_CHARACTERS_MAXIMUM)
    reader = csv.reader(file, strict=True)
    try:
        columns = [column.strip().removeprefix("\ufeff") for column in next(reader, [])]
        _require_columns(columns)
        for record in reader:
            if not record:
                continue
            is_too_long = sum(map(len, record)) > BATCH_ROW_CHARACTERS_MAXIMUM
            if len(record) != len(columns) or is_too_long:
                raise MalformedBody
            row: dict[str, Any] = {
                name: text for name, text in zip(columns, record, strict=True) if text
            }
            if "metadata" in row:
                row["metadata"] = json.loads(row["metadata"])
            yield row
    except (csv.Error, ValueError, RecursionError):
        raise MalformedBody from None


def _require_columns(columns: list[str]) -> None:
    wrong = chain(
        (("missing", name) for name in CSV_COLUMNS_REQUIRED if name not in columns),
        (("unknown", name) for name in columns if name not in CSV_COLUMNS),
        (("repeated", name) for name in {c for c in columns if columns.count(c) > 1}),
    )
    problems = [
        FieldProblem(f"header.{name}", f"column_{code}", f"columns are {', '.join(CSV_COLUMNS)}")
        for code, name in wrong
    ]
    if problems:
        raise ValidationFailed(problems)
