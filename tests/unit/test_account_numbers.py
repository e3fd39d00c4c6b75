import pytest

from domain.account_numbers import (
    BODY_MAXIMUM,
    BODY_MINIMUM,
    account_number_from,
    is_account_number,
    looks_like_account_number,
)

BODIES = [BODY_MINIMUM, BODY_MAXIMUM, 12345678901234, 98989898989898, 10000000000096]


@pytest.mark.parametrize("body", BODIES)
def test_a_number_is_its_body_with_two_check_digits(body: int) -> None:
    number = account_number_from(body)
    assert number.startswith(str(body))
    assert len(number) == 16
    assert is_account_number(number)


@pytest.mark.parametrize("body", BODIES)
def test_every_single_wrong_digit_is_found(body: int) -> None:
    number = account_number_from(body)
    for position, right in enumerate(number):
        for wrong in set("0123456789") - {right}:
            assert not is_account_number(number[:position] + wrong + number[position + 1 :])


@pytest.mark.parametrize("body", BODIES)
def test_every_swap_of_two_neighbours_is_found(body: int) -> None:
    number = account_number_from(body)
    for position in range(len(number) - 1):
        left, right = number[position], number[position + 1]
        if left != right:
            swapped = number[:position] + right + left + number[position + 2 :]
            assert not is_account_number(swapped)


@pytest.mark.parametrize("body", [BODY_MINIMUM - 1, BODY_MAXIMUM + 1, 0, -BODY_MINIMUM])
def test_a_body_of_another_length_is_refused(body: int) -> None:
    with pytest.raises(ValueError, match="14 digits"):
        account_number_from(body)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "0" * 16,
        "9" * 15,
        "9" * 17,
        "12345678901234 6",
        "\u0661" * 16,
        "1234567890123456\n",
    ],
)
def test_a_text_of_another_shape_is_not_even_like_one(text: str) -> None:
    assert not looks_like_account_number(text)
    assert not is_account_number(text)


def test_wrong_check_digits_look_like_a_number_and_are_none() -> None:
    number = account_number_from(BODY_MINIMUM)
    wrong = number[:-1] + str((int(number[-1]) + 1) % 10)
    assert looks_like_account_number(wrong)
    assert not is_account_number(wrong)
