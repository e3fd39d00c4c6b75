"""What ``transfers top`` shows of what is stuck, and of an API that is away."""

from io import StringIO

import pytest
from rich.console import Console

from cli.top_view import Sight, view_of
from runtime.api_client import Document
from runtime.scrapes import Interval, Scrape

NOW = Interval(Scrape.read("", 100.0), Scrape.read("", 102.0))
STUCK: Document = {
    "id": "01a2095e-4026-70a6-8ad5-a0924de6f0a8",
    "age_seconds": 7_300,
    "cause": "activity_failing",
    "held_amount": 60_050,
    "currency": "EUR",
    "last_error": "the disk is [bold]full[/bold]",
}
BATCH = STUCK | {"id": "a-batch", "age_seconds": 61, "held_amount": 0, "currency": None}


def shown(sight: Sight, *, width: int = 140, trouble: str | None = None) -> str:
    text = StringIO()
    Console(file=text, width=width).print(view_of("http://here", sight, trouble=trouble))
    return text.getvalue()


def test_what_is_stuck_is_a_row_with_its_age_cause_money_and_last_error() -> None:
    text = shown(Sight(NOW, [STUCK, BATCH | {"last_error": None}], has_more_stuck=False))
    [row] = [line for line in text.splitlines() if str(STUCK["id"]) in line]
    cells = [
        cell.strip() for cell in row.replace("\N{BOX DRAWINGS LIGHT VERTICAL}", "|").split("|")
    ]
    assert cells[1:-1] == [STUCK["id"], "2h", "activity_failing", "600.50 EUR", STUCK["last_error"]]
    [batch] = [line for line in text.splitlines() if "a-batch" in line]
    assert "EUR" not in batch
    assert "Nothing is stuck" not in text
    assert "There are more" not in text


@pytest.mark.parametrize("width", [80, 100, 200])
def test_of_many_it_says_that_there_are_more_and_cuts_no_id_off(width: int) -> None:
    text = shown(Sight(NOW, [STUCK] * 8, has_more_stuck=True), width=width)
    assert text.count(str(STUCK["id"])) == 8
    assert text.count("activity_failing") == 8
    assert "There are more: transfers stuck" in text


def test_nothing_and_what_a_key_may_not_see_are_told_apart() -> None:
    assert "Nothing is stuck." in shown(Sight(NOW, [], has_more_stuck=False))
    hidden = shown(Sight(NOW, None, has_more_stuck=False))
    assert "shown to keys with operations:read" in hidden
    assert "Nothing is stuck" not in hidden


def test_what_is_old_is_said_to_be_old_above_it() -> None:
    sight = Sight(NOW, [STUCK], has_more_stuck=False)
    lines = shown(sight, trouble="http://here does not answer").splitlines()
    assert lines[1].startswith("Not up to date: http://here does not answer")
    assert any(str(STUCK["id"]) in line for line in lines[2:])
    assert "Not up to date" not in shown(sight)
