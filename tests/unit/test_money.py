from typing import Any

import pytest

from domain.errors import CurrencyMismatch
from domain.money import Currency, Money

USD = Currency("USD", 2, "US Dollar")
JPY = Currency("JPY", 0, "Yen")
BHD = Currency("BHD", 3, "Bahraini Dinar")


@pytest.mark.parametrize("amount_minor", [1, 2, 10**30])
def test_an_amount_within_bounds_is_money(amount_minor: int) -> None:
    assert Money(amount_minor, "EUR").amount_minor == amount_minor


@pytest.mark.parametrize("amount_minor", [0, -1, -(10**30), 10**30 + 1])
def test_an_amount_out_of_bounds_is_refused(amount_minor: int) -> None:
    with pytest.raises(ValueError, match=r"amount_minor must be 1 to 10+, not"):
        Money(amount_minor, "EUR")


@pytest.mark.parametrize("amount", [1.0, True, "1", None])
def test_only_an_int_is_an_amount(amount: Any) -> None:
    with pytest.raises(TypeError, match="must be an int"):
        Money(amount, "EUR")


def test_money_of_one_currency_adds_up() -> None:
    assert Money(1, "EUR").plus(Money(2, "EUR")) == Money(3, "EUR")


def test_money_of_two_currencies_does_not_add_up() -> None:
    with pytest.raises(CurrencyMismatch) as refused:
        Money(1, "EUR").plus(Money(2, "USD"))
    assert (refused.value.expected, refused.value.actual) == ("EUR", "USD")


def test_a_sum_beyond_the_largest_amount_is_refused() -> None:
    with pytest.raises(ValueError, match="amount_minor"):
        Money(10**30, "EUR").plus(Money(1, "EUR"))


@pytest.mark.parametrize(
    ("currency", "amount_minor", "text"),
    [
        (USD, 0, "0.00 USD"),
        (USD, 1, "0.01 USD"),
        (USD, -1, "-0.01 USD"),
        (USD, 123456, "1,234.56 USD"),
        (USD, -1234, "-12.34 USD"),
        (USD, 10**30, f"{10**28:,}.00 USD"),
        (JPY, 0, "0 JPY"),
        (JPY, 1234567, "1,234,567 JPY"),
        (BHD, 5, "0.005 BHD"),
        (BHD, -1000, "-1.000 BHD"),
    ],
)
def test_an_amount_is_written_in_major_units_exactly(
    currency: Currency, amount_minor: int, text: str
) -> None:
    assert currency.format(amount_minor) == text
