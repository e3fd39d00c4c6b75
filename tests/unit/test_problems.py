import inspect

import pytest

from api.problems import status_of
from domain import errors
from domain.errors import AccountNotFound, DomainError

KINDS = [
    kind
    for _name, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, DomainError) and not kind.__subclasses__()
]
# Never met by a caller: bugs, and what the services deal with themselves.
INTERNAL = {"account_number_taken", "illegal_transition", "not_scheduled"}
TWICE = {"account_closed", "expired"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_a_code_of_its_own_in_snake_case(kind: type[DomainError]) -> None:
    assert kind.code != DomainError.code
    assert kind.code.isascii()
    assert kind.code.replace("_", "").islower()


def test_no_two_errors_share_a_code_but_those_of_one_meaning() -> None:
    codes = [kind.code for kind in KINDS]
    assert {code for code in codes if codes.count(code) > 1} == TWICE


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_that_callers_can_meet_has_its_status(kind: type[DomainError]) -> None:
    error = kind.__new__(kind)
    if isinstance(error, AccountNotFound):
        error.field = None
    assert (status_of(error) == 500) == (kind.code in INTERNAL)


def test_an_account_that_a_body_names_is_not_the_path_that_was_not_found() -> None:
    assert status_of(AccountNotFound("x")) == 404
    assert status_of(AccountNotFound("x", field="source")) == 422
