from decimal import Decimal

from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from api.fields import Amount
from domain.limits import AMOUNT_MAXIMUM_MINOR
from domain.money import Currency, Money

AMOUNTS = st.integers(1, AMOUNT_MAXIMUM_MINOR)
AMOUNT = TypeAdapter(Amount)


@given(AMOUNTS)
def test_an_amount_comes_through_as_a_number_and_as_digits(amount_minor: int) -> None:
    assert AMOUNT.validate_python(amount_minor) == amount_minor
    assert AMOUNT.validate_python(str(amount_minor)) == amount_minor


@given(st.one_of(st.floats(), st.booleans(), st.none(), st.text(), st.binary(), st.integers()))
def test_nothing_else_comes_through(value: object) -> None:
    try:
        taken = AMOUNT.validate_python(value)
    except ValidationError:
        return
    assert type(value) in {int, str}
    assert str(taken) == str(value)
    assert 1 <= taken <= AMOUNT_MAXIMUM_MINOR


@given(AMOUNTS, AMOUNTS)
def test_sums_are_exact(one: int, two: int) -> None:
    assume(one + two <= AMOUNT_MAXIMUM_MINOR)
    assert Money(one, "EUR").plus(Money(two, "EUR")) == Money(one + two, "EUR")


@given(st.integers(-(10**38), 10**38), st.integers(0, 4))
def test_a_written_amount_says_exactly_what_it_is(amount_minor: int, exponent: int) -> None:
    text = Currency("EUR", exponent, "Euro").format(amount_minor)
    number, _space, code = text.rpartition(" ")
    sign, digits, negative_exponent = Decimal(number.replace(",", "")).as_tuple()
    assert code == "EUR"
    assert -int(negative_exponent) == exponent
    assert int("".join(map(str, digits))) * (-1 if sign else 1) == amount_minor
