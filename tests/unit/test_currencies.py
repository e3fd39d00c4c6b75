import pytest

from services.currencies import find_currency


@pytest.mark.parametrize(
    ("code", "exponent"),
    [
        *(("EUR", 2), ("USD", 2), ("JPY", 0), ("BHD", 3), ("CLF", 4), ("ISK", 0), ("UYW", 4)),
        *(("MRU", 2), ("CHF", 2), ("KWD", 3)),
    ],
)
def test_exponents_are_those_of_the_standard(code: str, exponent: int) -> None:
    found = find_currency(code)
    assert found is not None
    assert (found.code, found.exponent) == (code, exponent)
    assert found.name


@pytest.mark.parametrize("code", ["XAU", "XTS", "XXX", "XDR"])
def test_what_has_no_minor_unit_is_no_currency_here(code: str) -> None:
    assert find_currency(code) is None


@pytest.mark.parametrize(
    "code",
    [
        "",
        "E",
        "EU",
        "EURO",
        "eur",
        "Eur",
        " EUR",
        "EUR ",
        "978",
        "ZZZ",
        "E\x00R",
        "\uff25UR",
        "ÆØÅ",
    ],
)
def test_any_other_text_is_no_currency(code: str) -> None:
    assert find_currency(code) is None
