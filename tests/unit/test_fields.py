from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from api.fields import (
    AccountName,
    Amount,
    CurrencyCode,
    Description,
    ExternalId,
    Metadata,
    Moment,
    Name,
    OverdraftLimit,
)
from api.parameters import wait_seconds_of

TAKEN: list[tuple[Any, Any, Any]] = [
    (Amount, 1, 1),
    (Amount, "1", 1),
    (Amount, 10**30, 10**30),
    (Amount, str(10**30), 10**30),
    (OverdraftLimit, 0, 0),
    (OverdraftLimit, "0", 0),
    (OverdraftLimit, 10**30, 10**30),
    (CurrencyCode, "EUR", "EUR"),
    (Name, "Zoë 🦉", "Zoë 🦉"),
    (Name, "x" * 200, "x" * 200),
    (Description, "", ""),
    (Description, "a\u202eb", "a\u202eb"),
    (ExternalId, "crm:1", "crm:1"),
    (Metadata, {"a": [1, 2.5, None, True, {"b": "c"}]}, {"a": [1, 2.5, None, True, {"b": "c"}]}),
    (Metadata, {"big": 2**256 - 1, "low": -(2**200)}, {"big": 2**256 - 1, "low": -(2**200)}),
    (Moment, "2026-01-01T00:00:00Z", datetime(2026, 1, 1, tzinfo=UTC)),
    (Moment, "2026-01-01t01:00:00.5+01:00", datetime(2026, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)),
    (Moment, "2026-01-01T00:00:00.123456789z", datetime(2026, 1, 1, 0, 0, 0, 123_456, tzinfo=UTC)),
]
REFUSED: list[tuple[Any, Any, str]] = [
    (Amount, 0, "amount_range"),
    (Amount, -1, "amount_range"),
    (Amount, 10**30 + 1, "amount_range"),
    (Amount, 1.0, "amount_type"),
    (Amount, True, "amount_type"),
    (Amount, "+1", "amount_type"),
    (Amount, "1\n", "amount_type"),
    (Amount, b"1", "amount_type"),
    (OverdraftLimit, -1, "overdraft_limit_range"),
    (CurrencyCode, "eur", "unknown_currency"),
    (Name, "", "string_too_short"),
    (Name, "a\nb", "control_character"),
    (Name, 1, "string_type"),
    (Description, "\x00", "control_character"),
    (ExternalId, "a/b", "external_id_form"),
    (AccountName, "nobody", "account_reference"),
    (AccountName, 1, "account_reference"),
    (Metadata, {"a": float("nan")}, "metadata_number"),
    (Metadata, {"a": float("-inf")}, "metadata_number"),
    (Metadata, {"a": 2**256}, "metadata_number"),
    (Metadata, {"a": "\x00"}, "metadata_text"),
    (Metadata, {"a\x00": 1}, "metadata_text"),
    (Metadata, {"a": {"b": {"c": {"d": {"e": {}}}}}}, "metadata_depth"),
    (Metadata, {str(n): n for n in range(51)}, "metadata_entries"),
    (Metadata, {"a": "é" * 6_000}, "metadata_size"),
    (Moment, "2026-01-01T00:00:00", "time_form"),
    (Moment, "2026-02-30T00:00:00Z", "time_form"),
    (Moment, 0, "time_form"),
    (Moment, datetime(2026, 1, 1, tzinfo=UTC), "time_form"),
    (Moment, "1899-12-31T23:59:59Z", "time_range"),
    (Moment, "9999-12-31T23:59:59-14:00", "time_form"),
]


def case_of(part: Any) -> str:
    """Name a case without the field, whose words hold addresses in memory."""
    return "" if hasattr(part, "__metadata__") else str(part)[:30]


@pytest.mark.parametrize(("field", "value", "taken"), TAKEN, ids=case_of)
def test_a_right_value_is_taken(field: Any, value: Any, taken: Any) -> None:
    assert TypeAdapter(field).validate_python(value) == taken


@pytest.mark.parametrize(("field", "value", "code"), REFUSED, ids=case_of)
def test_a_wrong_value_is_refused_with_its_code(field: Any, value: Any, code: str) -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(field).validate_python(value)
    assert [error["type"] for error in refused.value.errors()] == [code]


def test_times_are_kept_in_utc() -> None:
    moment = TypeAdapter(Moment).validate_python("2026-06-01T12:00:00+05:30")
    assert moment.utcoffset() == timedelta(0)
    assert moment.hour == 6


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        (None, 10),
        ("", 10),
        ("wait=3", 3),
        ("wait=0", 0),
        ("WAIT = 5", 5),
        ('wait="7"', 7),
        ("wait=30", 30),
        ("wait=31", 30),
        ("wait=999999999", 30),
        ("respond-async", 0),
        ("Respond-Async", 0),
        ("respond-async, wait=4", 4),
        ("return=minimal", 10),
        ("wait=-1", 10),
        ("wait=soon", 10),
    ],
)
def test_what_is_preferred_and_not_understood_is_ignored(prefer: str | None, seconds: int) -> None:
    assert wait_seconds_of(prefer) == seconds
