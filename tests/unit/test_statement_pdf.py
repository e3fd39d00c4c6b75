"""A statement's PDF, made in this process."""

import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pypdf
import pytest

from api.statements.pdf_program import EXIT_INCOMPLETE, write_pdf

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
HEAD: dict[str, Any] = {
    "issuer": "Bank",
    "holder": "Ada",
    "account_number": "1234567890123456",
    "external_id": None,
    "currency": {"code": "EUR", "exponent": 2, "name": "Euro"},
    "from_at": "2026-01-01T00:00:00+00:00",
    "to_at": "2026-02-01T00:00:00+00:00",
    "generated_at": "2026-02-01T12:00:00+00:00",
    "opening_minor": 0,
    "closing_minor": 0,
    "debits_minor": 0,
    "credits_minor": 0,
    "debit_count": 0,
    "credit_count": 0,
    "largest_balance_minor": 0,
}


def lines(descriptions: Sequence[str | None], amount_minor: int = 100) -> list[list[Any]]:
    return [
        [
            (BEGIN + timedelta(minutes=number)).isoformat(),
            BEGIN.isoformat(),
            "DEPOSIT",
            description,
            "9876543210987654",
            amount_minor,
            (number + 1) * amount_minor,
        ]
        for number, description in enumerate(descriptions)
    ]


def head_of(entries: Sequence[Sequence[Any]]) -> dict[str, Any]:
    total = sum(entry[5] for entry in entries)
    return HEAD | {
        "closing_minor": total,
        "credits_minor": total,
        "credit_count": len(entries),
        "largest_balance_minor": total,
    }


def made(documents: Sequence[Any]) -> tuple[int, bytes]:
    target = io.BytesIO()
    code = write_pdf([json.dumps(each).encode() for each in documents], target)
    return code, target.getvalue()


def pages_of(entries: Sequence[Sequence[Any]]) -> list[str]:
    code, content = made([head_of(entries), *entries, None])
    assert code == 0
    pages = pypdf.PdfReader(io.BytesIO(content)).pages
    return [page.extract_text().replace("\0", "") for page in pages]


@pytest.mark.parametrize("number", [1, 39, 40, 41, 42, 43, 91, 92, 93, 94, 500])
def test_every_entry_stands_on_one_page_and_every_page_is_counted(number: int) -> None:
    pages = pages_of(lines([f"Entry <{at}>" for at in range(number)]))
    text = "\n".join(pages)
    for at in range(number):
        assert text.count(f"Entry <{at}>") == 1
    for page_number, page in enumerate(pages, start=1):
        assert f"Page {page_number} of {len(pages)}" in page
    assert text.count("Carried forward") == text.count("Brought forward") == len(pages) - 1
    assert text.count("Opening balance") == 2


def test_a_long_description_is_broken_and_in_the_end_cut() -> None:
    (page,) = pages_of(
        lines(["one two three four five six seven eight nine ten eleven twelve", "x" * 999])
    )
    assert "one two three" in page
    assert "twelve" in page
    assert "x…" in page
    assert page.count("xxxx\n") == 3


@pytest.mark.parametrize("scale", [0, 6, 15, 24, 28, 36])
def test_amounts_of_every_size_are_whole(scale: int) -> None:
    pages = pages_of(lines(["a", "b"], amount_minor=10**scale * 1_234))
    assert f"{10**scale * 2_468 // 100:,}.{10**scale * 2_468 % 100:02d}" in "\n".join(pages)


def test_no_character_of_unicode_stops_a_statement() -> None:
    blocks = [
        "".join(chr(code) for code in range(begin, begin + 0x100) if not 0xD800 <= code < 0xE000)
        for begin in range(0xA0, 0x20000, 0x700)
    ]
    pages = pages_of(lines([block for block in blocks if block]))
    assert len(pages) > 1


def test_an_input_that_ends_early_makes_no_pdf() -> None:
    entries = lines(["a"])
    for documents in ([], [head_of(entries)], [head_of(entries), *entries]):
        assert made(documents) == (EXIT_INCOMPLETE, b"")
