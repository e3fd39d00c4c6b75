"""A batch's body, read and checked row by row into the form in which it is staged."""

import hashlib
import io
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import IO, Any, Final

from pydantic import ValidationError

from api.batch_reading import JsonRows, MalformedBody, csv_rows, ndjson_rows
from api.batch_schemas import BatchOptions, BatchRowCreate
from domain.errors import FieldProblem, ValidationFailed
from domain.limits import (
    BATCH_ATOMIC_ROWS_MAXIMUM,
    BATCH_ERRORS_SHOWN_MAXIMUM,
    BATCH_ROWS_MAXIMUM,
)
from domain.transfers import TransferType
from services.staged_text import staged_row
from services.transfer_sides import require_named_sides

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
CSV: Final = "text/csv"
MEDIA_TYPES: Final = (JSON, NDJSON, CSV)

STAGED_PIECE_ROWS: Final = 5_000
"""Rows that are sent to the database at a time."""

_READERS: Final[Mapping[str, Callable[[IO[str]], Iterable[Any]]]] = MappingProxyType(
    {JSON: JsonRows, NDJSON: ndjson_rows, CSV: csv_rows}
)


@dataclass(frozen=True, slots=True)
class SpooledBatch:
    """A checked batch, its rows in a file.

    Parameters
    ----------
    fingerprint
        SHA-256 of what it asks for.
    """

    options: BatchOptions
    rows: int
    fingerprint: bytes
    _file: IO[str] = field(repr=False)

    def pieces(self, tenant: str, batch: str) -> Iterator[bytes]:
        """Give the rows as they are staged for a batch, some thousands at a time."""
        self._file.seek(0)
        prefix = f"{batch}\t{tenant}\t"
        lines: list[str] = []
        for line in self._file:
            lines.append(prefix + line)
            if len(lines) == STAGED_PIECE_ROWS:
                yield "".join(lines).encode()
                lines.clear()
        if lines:
            yield "".join(lines).encode()


@contextmanager
def spooled(body: IO[bytes], media_type: str, options: BatchOptions) -> Iterator[SpooledBatch]:
    """Read and check a body; its rows are kept in a file until the block ends.

    Parameters
    ----------
    options
        What the query asks for; a JSON body may add to it.

    Raises
    ------
    MalformedBody
        It is not of its content type.
    ValidationFailed
        Rows are not as they should be, too many, or none, or a JSON body asks for something else
        than the query; the first mistakes are named.
    """
    text = io.TextIOWrapper(body, encoding="utf-8", newline="")
    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n") as file:
        spool = _Spool(file)
        rows = _READERS[media_type](text)
        try:
            spool.take(rows)
        except UnicodeDecodeError:
            raise MalformedBody from None
        finally:
            text.detach()
        if isinstance(rows, JsonRows):
            options = spool.options_with(options, rows.others)
        yield spool.finished(options)


class _Spool:
    """Takes rows, and remembers what is wrong with them."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._keys: set[str] = set()
        self._problems: list[FieldProblem] = []
        self._count = 0

    def take(self, rows: Iterable[Any]) -> None:
        """Check rows and write them down; ends at too many rows or mistakes."""
        for self._count, row in enumerate(rows, start=1):
            if self._count > BATCH_ROWS_MAXIMUM:
                self._wrong("transfers", "too_many_rows", f"at most {BATCH_ROWS_MAXIMUM} rows")
                break
            self._take_one(row)
            if len(self._problems) >= BATCH_ERRORS_SHOWN_MAXIMUM:
                break

    def options_with(self, query: BatchOptions, fields: Mapping[str, Any]) -> BatchOptions:
        """Add what a JSON body asks for beside its rows; what both name must be the same."""
        try:
            body = BatchOptions.model_validate(fields)
        except ValidationError as error:
            self._wrong_fields(error, "")
            return query
        for name in sorted(query.model_fields_set & body.model_fields_set):
            if getattr(query, name) != getattr(body, name):
                self._wrong(name, "differs_from_query", "the query names another value")
        return query.model_copy(update=body.model_dump(exclude_unset=True))

    def finished(self, options: BatchOptions) -> SpooledBatch:
        """Give what was read.

        Raises
        ------
        ValidationFailed
            Something is wrong with it.
        """
        if not self._count and not self._problems:
            self._wrong("transfers", "no_rows", "at least one row")
        if options.atomic and self._count > BATCH_ATOMIC_ROWS_MAXIMUM:
            self._wrong(
                "atomic",
                "too_many_rows",
                f"an atomic batch has at most {BATCH_ATOMIC_ROWS_MAXIMUM} rows",
            )
        if self._problems:
            raise ValidationFailed(self._problems[:BATCH_ERRORS_SHOWN_MAXIMUM])
        self._digest.update(options.model_dump_json().encode())
        self._file.flush()
        return SpooledBatch(options, self._count, self._digest.digest(), self._file)

    def _take_one(self, row: Any) -> None:
        place = f"transfers.{self._count}."
        try:
            taken = BatchRowCreate.model_validate(row).to_row(self._count)
            require_named_sides(TransferType(taken.type), taken.source, taken.destination)
        except ValidationError as error:
            self._wrong_fields(error, place)
            return
        except ValidationFailed as error:
            self._problems += [
                FieldProblem(place + wrong.field, wrong.code, wrong.message)
                for wrong in error.problems
            ]
            return
        if taken.idempotency_key in self._keys:
            self._wrong(place + "idempotency_key", "repeated", "stands in an earlier row, too")
            return
        self._keys.add(taken.idempotency_key)
        line = staged_row(taken)
        self._digest.update(line.encode())
        self._file.write(line)

    def _wrong(self, place: str, code: str, message: str) -> None:
        self._problems.append(FieldProblem(place, code, message))

    def _wrong_fields(self, error: ValidationError, place: str) -> None:
        for wrong in error.errors(include_url=False, include_input=False):
            name = ".".join(str(part) for part in wrong["loc"])
            self._wrong((place + name).rstrip("."), wrong["type"], wrong["msg"])
