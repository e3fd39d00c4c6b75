from uuid import UUID

import pytest

from domain.account_numbers import account_number_from
from domain.accounts import AccountReference, is_external_id
from domain.ids import parse_uuid

ID = "01890a5d-ac96-774b-bcce-b302099a8057"
NUMBER = account_number_from(12345678901234)


@pytest.mark.parametrize(
    ("text", "id_", "number", "external_id"),
    [
        (ID, ID, None, None),
        (ID.upper(), ID, None, None),
        (NUMBER, None, NUMBER, None),
        ("ext:wallet", None, None, "wallet"),
        (f"ext:{ID}", None, None, ID),
        (f"ext:{NUMBER}", None, None, NUMBER),
        ("ext:ext:", None, None, "ext:"),
        ("ext:!~", None, None, "!~"),
        ("ext:" + "x" * 200, None, None, "x" * 200),
    ],
)
def test_a_reference_has_one_of_three_forms(
    text: str, id_: str | None, number: str | None, external_id: str | None
) -> None:
    reference = AccountReference.parse(text)
    assert reference.text == text
    assert reference.id == (UUID(id_) if id_ else None)
    assert (reference.account_number, reference.external_id) == (number, external_id)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "wallet", "ext:", "ext: ", "ext:a b", "ext:a/b", "ext:\x00", "ext:ü", "EXT:a"),
        *(ID.replace("-", ""), f"{{{ID}}}", f"urn:uuid:{ID}", f" {ID}", f"{ID}\n", ID[:-1]),
        *("1" * 15, "1" * 17, "0" * 16, "-" + "1" * 15, "ext:" + "x" * 201),
    ],
)
def test_any_other_text_names_no_account(text: str) -> None:
    with pytest.raises(ValueError, match="must name an account by its UUID"):
        AccountReference.parse(text)


def test_wrong_check_digits_are_told_as_such() -> None:
    wrong = NUMBER[:-1] + str((int(NUMBER[-1]) + 1) % 10)
    with pytest.raises(ValueError, match="check digits"):
        AccountReference.parse(wrong)


@pytest.mark.parametrize("text", ["a", "!~", "a:b", "x" * 200, "%2F", "'\"\\"])
def test_visible_ascii_is_an_external_id(text: str) -> None:
    assert is_external_id(text)


@pytest.mark.parametrize("text", ["", "/", "a/b", " ", "a b", "\x7f", "\x1f", "é", "x" * 201])
def test_anything_else_is_none(text: str) -> None:
    assert not is_external_id(text)


def test_a_uuid_is_read_in_its_canonical_form_alone() -> None:
    assert parse_uuid(ID) == UUID(ID)
    for other in (ID.replace("-", ""), f"{{{ID}}}", f"{ID}0", f"{ID}\n", "", "x" * 36):
        assert parse_uuid(other) is None
