import pytest

from cli.amounts import parse_amount
from cli.documents import amount_text, time_text
from cli.failures import CommandFailed


def test_an_amount_is_a_whole_number_of_minor_units_of_any_size() -> None:
    assert parse_amount("1250", "EUR") == 1250
    assert parse_amount("1" + "0" * 30, "EUR") == 10**30


@pytest.mark.parametrize(
    ("text", "currency", "hint"),
    [
        ("12.50", "EUR", "For 12.50 EUR give --amount 1250."),
        ("12,5", "EUR", "For 12.50 EUR give --amount 1250."),
        ("12.345", "BHD", "For 12.345 BHD give --amount 12345."),
        ("12.505", "EUR", "EUR has 2 decimal places."),
        ("0.5", "JPY", "JPY has 0 decimal places."),
    ],
)
def test_major_units_are_refused_with_what_to_write_instead(
    text: str, currency: str, hint: str
) -> None:
    with pytest.raises(CommandFailed, match="minor units") as refusal:
        parse_amount(text, currency)
    assert str(refusal.value).endswith(hint)


@pytest.mark.parametrize("text", ["", "-5", "ten", "1e3x", "٣", "NaN", "Infinity", " "])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(CommandFailed, match="--amount takes a whole number of minor units"):
        parse_amount(text, "EUR")


def test_a_person_reads_major_units_with_the_currency() -> None:
    assert amount_text(-123456, "EUR") == "-1,234.56 EUR"
    assert amount_text(500, "JPY") == "500 JPY"
    assert amount_text(7, "???") == "7 ??? (minor units)"


def test_a_person_reads_times_to_the_second() -> None:
    assert time_text("2026-01-31T12:00:00.123456Z") == "2026-01-31 12:00:00"
    assert time_text(None) == ""
