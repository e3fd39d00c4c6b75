"""The checker on made-up histories: what is right passes, and each kind of wrong is named."""

from collections.abc import Callable

import pytest

from tests.chaos.checker import Trouble
from tests.chaos.histories import ADA, BOB, CREATED, TENANT, Story
from tests.chaos.history import Attempt, BalanceRead, EntriesRead, Fate, Kind, TransferRead


def told_otherwise(story: Story) -> None:
    record = story.transfer("t")
    attempt = Attempt(9.0, 9.5, CREATED)
    record.take(attempt, record.document | {"id": "another"}, is_definite=True)


def refused_first_and_done_later(story: Story) -> None:
    story.transfer("t", 10)
    record = story.reversal("t", 10)
    answer, record.status, record.code, record.document = record.document, 409, "no", {}
    record.take(Attempt(9.0, 9.5, CREATED), answer, is_definite=True)


def everything(story: Story) -> None:
    story.transfer("t", 10)
    story.reversal("t", 4)
    story.reversal("t", 6)
    story.transfer("refused", failure="insufficient_funds")
    story.hold("h", 10, captured=7)
    story.operation(Kind.CAPTURE, "h", 3)
    story.operation(Kind.CAPTURE, "h", 4)
    story.operation(Kind.CANCEL, "h", code="already_posted")
    story.hold("given up", 10)
    story.operation(Kind.CANCEL, "given up")
    story.operation(Kind.CAPTURE, "given up", 1, code="already_failed")
    story.batch("b", 1, 2, 3)


def ended_by_force(story: Story) -> None:
    story.transfer("t", failure="workflow_terminated", fate=Fate())
    story.history.disturbed.add(f"{TENANT}:t")


@pytest.mark.parametrize("tell", [everything, ended_by_force, refused_first_and_done_later])
def test_a_history_that_is_right_passes(tell: Callable[[Story], None]) -> None:
    story = Story()
    tell(story)
    assert story.troubles() == []


def transfer_is_gone(story: Story) -> None:
    story.transfer("t")
    story.drop_last_entries()
    del story.transfers[-1]


def entries_are_gone(story: Story) -> None:
    story.transfer("t")
    story.drop_last_entries()


def another_stands_for_the_key(story: Story) -> None:
    record = story.transfer("t")
    record.document = record.document | {"id": "another"}


def success_became_failure(story: Story) -> None:
    story.transfer("t", fate=Fate(codes=frozenset({"cancelled"})))
    story.drop_last_entries()
    # The told document is the book's own, so that only the book may change.
    record = story.history.records["transfert"]
    record.document = dict(record.document)
    story.transfers[-1] |= {"state": "FAILED", "failure": {"code": "cancelled"}}


def capture_is_gone(story: Story) -> None:
    story.hold("h", captured=3)
    story.operation(Kind.CAPTURE, "h", 3)
    story.drop_last_entries()


def cancelled_hold_was_captured(story: Story) -> None:
    story.hold("h", captured=3)
    story.operation(Kind.CAPTURE, "h", 3)
    story.operation(Kind.CANCEL, "h")


def batch_is_gone(story: Story) -> None:
    story.batch("b")
    story.batches.clear()


def row_is_gone(story: Story) -> None:
    story.batch("b", 1)
    story.drop_last_entries()


def entered_twice(story: Story) -> None:
    story.transfer("t")
    story.enter(story.transfers[-1], (ADA, BOB, 10))


def captured_twice(story: Story) -> None:
    story.hold("h", captured=6)
    story.operation(Kind.CAPTURE, "h", 3)
    story.enter(story.transfers[-1], (ADA, BOB, 3))


def recorded_twice(story: Story) -> None:
    story.transfer("t")
    document = story.book("t", 10, id="another")
    story.enter(document, (ADA, BOB, 10))


def nobody_asked(story: Story) -> None:
    story.enter(story.book("unheard of", 10), (ADA, BOB, 10))


def failed_and_moved(story: Story) -> None:
    story.transfer("t", failure="insufficient_funds")
    story.enter(story.transfers[-1], (ADA, BOB, 10))


def too_much_taken_back(story: Story) -> None:
    story.transfer("t", 10)
    story.reversal("t", 6)
    story.reversal("t", 5)


def rejected_row_moved(story: Story) -> None:
    story.batch("b", 1)
    story.batches["b"]["atomic"] = True
    story.rows["b"][0]["status"] = "CANCELLED"
    story.history.disturbed.add("b")


def failed_for_no_reason(story: Story) -> None:
    story.transfer("t", failure="insufficient_funds", fate=Fate())


def ended_by_nobody(story: Story) -> None:
    story.transfer("t", failure="workflow_terminated", fate=Fate())


def succeeded_and_could_not(story: Story) -> None:
    story.transfer("t", fate=Fate(may_succeed=False))


def still_under_way(story: Story) -> None:
    story.hold("h", captured=3)
    story.operation(Kind.CAPTURE, "h", 3)
    story.transfers[-1]["state"] = "PROCESSING"
    story.enter(story.transfers[-1], (BOB, ADA, 3))


def never_answered(story: Story) -> None:
    record = story.transfer("t")
    record.acknowledged = None


def a_gap(story: Story) -> None:
    story.transfer("t")
    story.entries[ADA][0]["sequence"] = 2


@pytest.mark.parametrize(
    ("tell", "trouble"),
    [
        (transfer_is_gone, Trouble.LOST),
        (entries_are_gone, Trouble.LOST),
        (another_stands_for_the_key, Trouble.LOST),
        (success_became_failure, Trouble.LOST),
        (capture_is_gone, Trouble.LOST),
        (cancelled_hold_was_captured, Trouble.LOST),
        (batch_is_gone, Trouble.LOST),
        (row_is_gone, Trouble.LOST),
        (entered_twice, Trouble.DOUBLED),
        (captured_twice, Trouble.DOUBLED),
        (recorded_twice, Trouble.DOUBLED),
        (nobody_asked, Trouble.DOUBLED),
        (failed_and_moved, Trouble.DOUBLED),
        (too_much_taken_back, Trouble.DOUBLED),
        (rejected_row_moved, Trouble.DOUBLED),
        (told_otherwise, Trouble.ANSWER),
        (failed_for_no_reason, Trouble.UNEXPLAINED),
        (ended_by_nobody, Trouble.UNEXPLAINED),
        (succeeded_and_could_not, Trouble.UNEXPLAINED),
        (still_under_way, Trouble.STUCK),
        (never_answered, Trouble.STUCK),
        (a_gap, Trouble.ORDER),
    ],
)
def test_a_history_that_is_wrong_is_named(tell: Callable[[Story], None], trouble: Trouble) -> None:
    story = Story()
    tell(story)
    assert trouble in story.troubles()


def three_transfers() -> Story:
    """Ada sends 1, 2 and 3: told of at 1.5, 2.5 and 3.5."""
    story = Story()
    for amount in (1, 2, 3):
        story.transfer(f"t{amount}", amount)
    return story


@pytest.mark.parametrize(
    ("started", "ended", "posted"),
    [
        (0.1, 0.2, 0),
        (0.1, 1.2, 0),
        (0.1, 1.2, -1),
        (1.6, 1.7, -1),
        (1.6, 3.1, -6),
        (9.0, 9.1, -6),
    ],
)
def test_a_balance_may_show_what_was_told_before_and_what_was_asked_for_meanwhile(
    started: float, ended: float, posted: int
) -> None:
    story = three_transfers()
    story.read(BalanceRead(ADA, started, ended, posted))
    assert story.troubles() == []


@pytest.mark.parametrize(
    ("started", "ended", "posted"),
    [
        pytest.param(1.6, 1.7, 0, id="stale"),
        pytest.param(0.1, 0.2, -1, id="from the future"),
        pytest.param(1.6, 9.0, -2, id="of no prefix"),
    ],
)
def test_a_balance_that_fits_no_moment_of_its_time_is_named(
    started: float, ended: float, posted: int
) -> None:
    story = three_transfers()
    story.read(BalanceRead(ADA, started, ended, posted))
    assert story.troubles() == [Trouble.READ]


def test_a_balance_that_goes_back_in_time_is_named() -> None:
    story = three_transfers()
    story.read(BalanceRead(ADA, 1.1, 2.2, -3))
    story.read(BalanceRead(ADA, 2.3, 2.4, -1))
    assert story.troubles() == [Trouble.READ]


def test_entries_are_read_as_they_stand_in_the_books() -> None:
    story = three_transfers()
    newest = tuple(reversed(story.entries[ADA]))
    story.read(EntriesRead(ADA, 9.0, 9.1, newest[:2]))
    assert story.troubles() == []
    story.read(EntriesRead(ADA, 9.0, 9.1, (newest[0], newest[2])))
    assert story.troubles() == [Trouble.READ]


def test_a_transfer_that_is_read_as_under_way_after_it_was_told_of_is_named() -> None:
    story = three_transfers()
    story.read(TransferRead("id of t1", 0.9, 1.6, "PROCESSING"))
    assert story.troubles() == []
    story.read(TransferRead("id of t1", 1.6, 1.7, "PROCESSING"))
    assert story.troubles() == [Trouble.READ]


def test_an_order_that_contradicts_time_is_named() -> None:
    story = three_transfers()
    for account, sign in ((ADA, -1), (BOB, 1)):
        entries = story.entries[account]
        entries[:2] = reversed(entries[:2])
        balance = 0
        for sequence, entry in enumerate(entries, start=1):
            balance += sign * entry["amount"]
            entry |= {"sequence": sequence, "balance_after": balance}
    assert Trouble.ORDER in story.troubles()
