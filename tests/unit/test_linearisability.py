"""The checker of concurrent histories: it finds orders that are there, and none that are not."""

from domain.states import TransferStage
from domain.transfers import TransferType
from tests.property.bank_model import Bank
from tests.property.bank_parts import Answer, Command, Wish
from tests.property.linearisability import Event, orders_into

RESERVED = Answer(stage=TransferStage.RESERVED, amount=100)
REFUSED = Answer(stage=TransferStage.FAILED, failure="insufficient_funds", amount=100)
SETTLEMENT = 1


def withdrawal(key: str) -> Command:
    wish = Wish(TransferType.WITHDRAWAL, ((0, SETTLEMENT, 100),))
    return Command("ask", key, wish=wish)


def event(command: Command, answer: Answer, began: float, ended: float) -> Event:
    return Event(command, answer, began, ended)


def order(*lanes: list[Event]) -> list[str] | None:
    """Look for an order of what happened to an account that can send 100 once."""
    found = orders_into(Bank.of([100]), lanes, lambda _bank: True)
    return None if found is None else [each.command.key for each in found]


def test_one_of_two_at_once_gets_the_money() -> None:
    first = [event(withdrawal("first"), REFUSED, 0, 9)]
    second = [event(withdrawal("second"), RESERVED, 1, 8)]
    assert order(first, second) == ["second", "first"]


def test_money_that_was_spent_twice_has_no_order() -> None:
    first = [event(withdrawal("first"), RESERVED, 0, 9)]
    second = [event(withdrawal("second"), RESERVED, 1, 8)]
    assert order(first, second) is None


def test_what_had_ended_before_does_not_come_after() -> None:
    first = [event(withdrawal("first"), REFUSED, 0, 1)]
    second = [event(withdrawal("second"), RESERVED, 2, 3)]
    assert order(first, second) is None


def test_a_client_keeps_its_own_order() -> None:
    release = Command("compensate", transfer="first")
    released = Answer(stage=TransferStage.FAILED, failure="given_up", amount=100)
    first = [event(withdrawal("first"), RESERVED, 0, 2), event(release, released, 3, 5)]
    second = [event(withdrawal("second"), RESERVED, 1, 8)]
    assert order(first, second) == ["first", "", "second"]


def test_an_end_that_no_order_leads_to_is_not_explained() -> None:
    lane = [event(withdrawal("first"), RESERVED, 0, 1)]
    assert orders_into(Bank.of([100]), [lane], lambda bank: bank.accounts[0].held == 0) is None
