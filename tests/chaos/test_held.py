"""Reads of what is held, on made-up histories."""

import pytest

from tests.chaos.checker import Trouble
from tests.chaos.histories import ADA, TENANT, Story
from tests.chaos.history import BalanceRead, Kind


def held_for_a_while() -> Story:
    """Ada holds 10: told of at 1.5; captured as a whole from 2.0 on, told of at 2.5."""
    story = Story()
    hold = story.hold("h", 10, captured=10)
    hold.document = hold.document | {"state": "PROCESSING"}
    story.operation(Kind.CAPTURE, "h", 10)
    return story


@pytest.mark.parametrize(
    ("started", "ended", "posted", "held"),
    [
        (0.1, 0.2, 0, 0),
        (1.1, 1.2, 0, 0),
        (1.1, 1.2, 0, 10),
        (1.6, 1.7, 0, 10),
        (2.1, 2.2, 0, 10),
        (2.1, 2.2, -10, 0),
        (2.6, 2.7, -10, 0),
    ],
)
def test_what_is_held_may_be_what_was_told_before_and_what_was_asked_for_meanwhile(
    started: float, ended: float, posted: int, held: int
) -> None:
    story = held_for_a_while()
    story.read(BalanceRead(ADA, started, ended, posted, held))
    assert story.troubles() == []


@pytest.mark.parametrize(
    ("started", "ended", "posted", "held"),
    [
        pytest.param(0.1, 0.2, 0, 10, id="before it was asked for"),
        pytest.param(1.6, 1.7, 0, 0, id="no more"),
        pytest.param(1.6, 1.7, 0, 20, id="twice"),
        pytest.param(2.6, 2.7, -10, 10, id="after its end"),
    ],
)
def test_what_cannot_be_held_is_named(started: float, ended: float, posted: int, held: int) -> None:
    story = held_for_a_while()
    story.read(BalanceRead(ADA, started, ended, posted, held))
    assert story.troubles() == [Trouble.READ]


def test_a_hold_whose_workflow_was_ended_by_force_may_end_at_any_time() -> None:
    story = held_for_a_while()
    story.history.disturbed.add(f"{TENANT}:h")
    story.read(BalanceRead(ADA, 1.6, 1.7, 0, 0))
    assert story.troubles() == []
