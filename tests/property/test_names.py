from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from domain.account_numbers import (
    BODY_MAXIMUM,
    BODY_MINIMUM,
    account_number_from,
    is_account_number,
)
from domain.accounts import AccountReference
from services.identifiers import new_account_number, new_uuid

NUMBERS = st.integers(BODY_MINIMUM, BODY_MAXIMUM).map(account_number_from)
EXTERNAL_IDS = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="/"),
    min_size=1,
    max_size=200,
)


@given(NUMBERS, st.integers(0, 15), st.sampled_from("0123456789"))
def test_a_wrong_digit_never_makes_another_account_number(
    number: str, position: int, digit: str
) -> None:
    changed = number[:position] + digit + number[position + 1 :]
    assert is_account_number(changed) == (changed == number)


@given(NUMBERS, st.integers(0, 14))
def test_a_swap_of_neighbours_never_makes_another_account_number(
    number: str, position: int
) -> None:
    left, right = number[position], number[position + 1]
    swapped = number[:position] + right + left + number[position + 2 :]
    assert is_account_number(swapped) == (swapped == number)


@given(st.one_of(st.uuids().map(str), NUMBERS, EXTERNAL_IDS.map("ext:{}".format)))
def test_a_reference_names_an_account_in_exactly_one_way(text: str) -> None:
    reference = AccountReference.parse(text)
    named = [reference.id, reference.account_number, reference.external_id]
    assert sum(name is not None for name in named) == 1


@given(st.text())
def test_any_text_is_a_reference_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert AccountReference.parse(text).text == text


def test_new_numbers_are_right_and_new_ids_sort_by_age() -> None:
    numbers = {new_account_number() for _ in range(1_000)}
    assert len(numbers) == 1_000
    assert all(is_account_number(number) for number in numbers)
    ids = [new_uuid() for _ in range(1_000)]
    assert ids == sorted(set(ids))
    assert {id_.version for id_ in ids} == {7}
