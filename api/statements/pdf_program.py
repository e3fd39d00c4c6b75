"""A program that makes a statement's PDF: ``python -m api.statements.pdf_program``.

Reads JSON lines from standard input: the head, then each entry, then ``null``. Writes the PDF to
standard output. Where the input ends before ``null``, whoever wanted the PDF is gone, and none is
written.
"""

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import fields
from datetime import datetime
from typing import Any, BinaryIO, Final

from api.statements.pdf_contract import PdfHead, PdfLine
from api.statements.pdf_document import PdfStatement
from domain.money import Currency

NICENESS: Final = 10
"""Transfers go first where there are fewer cores than there is to do."""
EXIT_INCOMPLETE: Final = 3


def main() -> int:
    """Make one PDF, and give the exit code."""
    os.nice(NICENESS)
    return write_pdf(sys.stdin.buffer, sys.stdout.buffer)


def write_pdf(source: Iterable[bytes], target: BinaryIO) -> int:
    """Make a PDF of JSON lines."""
    documents = (json.loads(line) for line in source)
    head = next(documents, None)
    if head is None:
        return EXIT_INCOMPLETE
    statement = PdfStatement(_head(head))
    for document in documents:
        if document is None:
            target.write(statement.write())
            target.flush()
            return 0
        statement.add(_line(document))
    return EXIT_INCOMPLETE


def _head(document: dict[str, Any]) -> PdfHead:
    times = {name: datetime.fromisoformat(document[name]) for name in _times_of(PdfHead)}
    return PdfHead(**{**document, **times, "currency": Currency(**document["currency"])})


def _line(values: list[Any]) -> PdfLine:
    created_at, effective_at, *others = values
    return PdfLine(
        datetime.fromisoformat(created_at), datetime.fromisoformat(effective_at), *others
    )


def _times_of(kind: type[PdfHead]) -> list[str]:
    return [field.name for field in fields(kind) if field.type is datetime]


if __name__ == "__main__":
    sys.exit(main())
