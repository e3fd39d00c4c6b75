from dataclasses import replace
from uuid import UUID

import pytest

from domain.accounts import AccountStatus, Balance
from domain.errors import AccountClosed, AccountFrozen, InsufficientFunds
from domain.ids import AccountId
from domain.ledger import EntryDirection

BALANCE = Balance(
    account_id=AccountId(UUID(int=1)),
    currency="EUR",
    status=AccountStatus.ACTIVE,
    posted_minor=100,
    held_minor=30,
    overdraft_limit_minor=20,
    last_sequence=5,
)
SETTLEMENT = replace(BALANCE, posted_minor=-100, overdraft_limit_minor=None)


def test_available_is_posted_less_held_and_the_overdraft() -> None:
    assert BALANCE.available_minor == 90
    assert SETTLEMENT.available_minor == -130


@pytest.mark.parametrize("amount_minor", [1, 89, 90])
def test_all_that_is_available_can_be_reserved(amount_minor: int) -> None:
    BALANCE.require_available(amount_minor)


def test_one_more_cannot_be_reserved() -> None:
    with pytest.raises(InsufficientFunds, match=r"has 90 EUR .* needs 91"):
        BALANCE.require_available(91)


def test_a_settlement_account_has_no_bound() -> None:
    SETTLEMENT.require_available(10**30)


def test_only_an_active_account_takes_part() -> None:
    BALANCE.require_active()
    with pytest.raises(AccountFrozen):
        replace(BALANCE, status=AccountStatus.FROZEN).require_active()
    with pytest.raises(AccountClosed):
        replace(BALANCE, status=AccountStatus.CLOSED).require_active()


@pytest.mark.parametrize(
    ("direction", "posted_minor"), [(EntryDirection.CREDIT, 110), (EntryDirection.DEBIT, 90)]
)
def test_an_entry_makes_the_next_balance(direction: EntryDirection, posted_minor: int) -> None:
    after = BALANCE.after_entry(direction, 10)
    assert (after.posted_minor, after.held_minor) == (posted_minor, 30)
    assert after.last_sequence == 6
    assert BALANCE.last_sequence == 5
