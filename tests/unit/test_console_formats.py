"""How the console writes and draws."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from api.console import readings
from api.console.charts import (
    HEIGHT,
    PART_HEIGHT_MINIMUM,
    WIDTH,
    activity_chart,
    balance_chart,
    latency_chart,
    sampled_chart,
)
from api.console.details import detail
from api.console.formats import ago, decimal, duration, local_moment, percent, schedule
from api.console.pages import own_path
from api.console.timeline import timeline_of
from domain.evidence import HistoryRecord
from domain.ids import AccountId, EntryId, TenantId, TransferId, first_id_since
from domain.ledger import EntryDirection, LedgerEntry
from domain.standing_orders import CronSchedule
from domain.states import Step, TransferStage
from domain.transfers import TransferEvent
from persistence.overview import Activity
from persistence.samples import Sampled
from services.identifiers import new_uuid
from services.overview import SampledStep

START = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
NOBODY = UUID(int=0)


def step(minutes: int, started: int, failed: int = 0, seconds: float | None = None) -> Activity:
    moment = START + timedelta(minutes=minutes)
    return Activity(moment, started, started - failed, failed, moment, seconds, seconds)


def entry(minutes: int, balance_minor: int) -> LedgerEntry:
    return LedgerEntry(
        id=EntryId(NOBODY),
        tenant_id=TenantId(NOBODY),
        transfer_id=TransferId(NOBODY),
        account_id=AccountId(NOBODY),
        sequence=1,
        direction=EntryDirection.CREDIT,
        amount_minor=1,
        currency="EUR",
        balance_after_minor=balance_minor,
        effective_at=START,
        created_at=START + timedelta(minutes=minutes),
    )


@pytest.mark.parametrize(
    ("amount_minor", "currency", "text"),
    [
        (0, "EUR", "0.00"),
        (-123_456, "EUR", "\N{MINUS SIGN}1,234.56"),
        (1_234, "JPY", "1,234"),
        (5, "BHD", "0.005"),
        (10**30, "USD", "10,000,000,000,000,000,000,000,000,000.00"),
        (1_234, "ZZZ", "1,234"),
    ],
)
def test_amounts_are_written_exactly(amount_minor: int, currency: str, text: str) -> None:
    assert decimal(amount_minor, currency) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0384, "38 ms"), (2.44, "2.4 s"), (59.9, "59.9 s"), (200, "3 min"), (7_300, "2 h")],
)
def test_durations_are_written_in_their_largest_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text
    assert duration(timedelta(seconds=seconds)) == text


def test_times_are_told_from_now() -> None:
    now = datetime.now(UTC)
    assert ago(now - timedelta(minutes=3, seconds=5)) == "3 min ago"
    assert ago(now + timedelta(days=2, minutes=1)) == "in 2 d"


@pytest.mark.parametrize(
    ("share", "text"),
    [(1.0, "100 %"), (0.999999, "99.99 %"), (0.5, "50 %"), (0.0, "0 %"), (None, "\N{EN DASH}")],
)
def test_a_rate_is_whole_only_where_nothing_is_missing(share: float | None, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("path", "own"),
    [
        ("/console/transfers?q=a", "/console/transfers?q=a"),
        ("https://evil.example/console/", "/console"),
        ("//evil.example/console/", "/console"),
        ("/console/\\evil", "/console"),
        ("/consoleevil", "/console"),
        (None, "/console"),
    ],
)
def test_only_paths_of_the_console_are_gone_to(path: str | None, own: str) -> None:
    assert own_path(path) == own


def test_bars_stay_inside_their_chart() -> None:
    chart = activity_chart([step(0, 10, failed=4), step(1, 0), step(2, 5)])
    assert chart is not None
    assert chart.highest == 10
    assert [bar.lower_height + bar.upper_height for bar in chart.bars] == [HEIGHT, HEIGHT / 2]
    assert all(bar.x >= 0 and bar.x + bar.width <= WIDTH for bar in chart.bars)
    assert "10 started, 4 failed" in chart.bars[0].words
    for failed in (1, 99_999):
        few = activity_chart([step(0, 100_000, failed=failed)])
        assert few is not None
        (bar,) = few.bars
        assert min(bar.lower_height, bar.upper_height) == PART_HEIGHT_MINIMUM
        assert bar.lower_height + bar.upper_height == HEIGHT


def sampled(minutes: int, known: Sampled | None) -> SampledStep:
    return SampledStep(START + timedelta(minutes=minutes), known)


def a_sample(**changes: Any) -> Sampled:
    calm = Sampled(
        in_flight=0,
        stuck=0,
        own_stuck=0,
        is_stuck_whole=True,
        violations=0,
        proof_age_seconds=90,
    )
    return replace(calm, **changes)


def test_what_was_not_sampled_is_a_gap_and_nothing_is_none() -> None:
    steps = [
        sampled(0, None),
        sampled(1, None),
        sampled(2, a_sample()),
        sampled(3, a_sample(in_flight=3)),
    ]
    chart = sampled_chart(steps, readings.in_flight)
    assert chart is not None
    (gap,) = chart.gaps
    assert (gap.x, gap.width) == (0, WIDTH / 2)
    assert gap.words == "Sat 12:00:00 UTC to Sat 12:01:00 UTC: no sample was taken"
    (bar,) = chart.bars
    assert bar.words == "Sat 12:03:00 UTC: at most 3 in flight"
    assert sampled_chart([sampled(0, None)], readings.in_flight) is None


def test_what_was_not_known_of_a_sample_is_a_gap_and_what_is_cut_says_so() -> None:
    unknown = a_sample(stuck=None, own_stuck=None, is_stuck_whole=None)
    cut = a_sample(stuck=500, own_stuck=100, is_stuck_whole=False)
    chart = sampled_chart([sampled(0, unknown), sampled(1, cut)], readings.stuck)
    assert chart is not None
    assert [gap.words for gap in chart.gaps] == [
        "Sat 12:00:00 UTC: Temporal did not tell what was stuck"
    ]
    (bar,) = chart.bars
    assert (bar.lower_height, bar.upper_height) == (20, 80)
    assert bar.words == "Sat 12:01:00 UTC: at least 500 stuck, 100 of this tenant"


def test_a_violation_is_seen_before_all_is_proved_and_however_little_time_has_passed() -> None:
    steps = [
        sampled(0, a_sample(proof_age_seconds=None)),
        sampled(1, a_sample(proof_age_seconds=None, violations=1)),
        sampled(2, a_sample(proof_age_seconds=36_000)),
    ]
    chart = sampled_chart(steps, readings.proved)
    assert chart is not None
    assert [gap.words for gap in chart.gaps] == ["Sat 12:00:00 UTC: not all proved yet"]
    violated, clean = chart.bars
    assert violated.words == "Sat 12:01:00 UTC: 1 violation, not all proved yet"
    assert (violated.lower_height, violated.upper_height) == (0, PART_HEIGHT_MINIMUM)
    assert (clean.lower_height, clean.upper_height) == (HEIGHT, 0)


def test_money_that_was_held_is_drawn_exactly_however_large() -> None:
    steps = [sampled(0, a_sample(held_minor={"EUR": 10**37})), sampled(1, a_sample())]
    chart = sampled_chart(steps, readings.held_of("EUR"))
    assert chart is not None
    assert (chart.highest, [bar.lower_height for bar in chart.bars]) == (10**37, [HEIGHT])


def test_a_line_breaks_where_nothing_was_measured() -> None:
    chart = latency_chart([step(0, 1, seconds=0.1), step(1, 0), step(2, 1, seconds=0.2)])
    assert chart is not None
    assert chart.highest_seconds == 0.2
    assert chart.median.count("M") == 2
    assert latency_chart([step(0, 1)]) is None


def test_a_balance_is_drawn_exactly_however_large() -> None:
    entries = [entry(0, 0), entry(5, 10**37), entry(10, -(10**37))]
    chart = balance_chart(entries, until=START + timedelta(minutes=20))
    assert chart is not None
    assert (chart.lowest_minor, chart.highest_minor) == (-(10**37), 10**37)
    assert chart.zero == HEIGHT / 2
    assert chart.line == "M0 50.00H150.00V0.00H300.00V100.00H600"


def test_an_account_that_never_moved_has_no_chart_and_one_entry_a_line() -> None:
    assert balance_chart([], until=START) is None
    chart = balance_chart([entry(0, 500)], until=START)
    assert chart is not None
    assert chart.line == "M0 0.00H600"


def test_a_small_change_of_a_balance_looks_small() -> None:
    chart = balance_chart([entry(0, 100_000), entry(5, 99_930)], until=START)
    assert chart is not None
    assert (chart.lowest_minor, chart.zero) == (0, HEIGHT)
    assert chart.line.endswith("V0.07H600")


@pytest.mark.parametrize(
    ("name", "value", "written"),
    [
        ("amount", 9_000, "90.00 EUR"),
        ("final", False, "no"),
        ("deadline_seconds", 86_400, "1 d"),
        ("overdraft_limit", {"from": None, "to": 5_000}, "from none, to 50.00 EUR"),
        ("to", {"per_day": 100, "per_month": None}, "per day 1.00 EUR, per month none"),
        ("expires_at", "2026-01-31T12:00:00+00:00", "2026-01-31 12:00:00 UTC"),
        ("scopes", ["a", "b"], "a, b"),
        ("rows", 1_234, "1,234"),
    ],
)
def test_details_are_written_as_people_read_them(name: str, value: Any, written: str) -> None:
    assert detail(value, name, "EUR") == written


def test_an_amount_of_an_unknown_currency_says_that_it_is_in_minor_units() -> None:
    assert detail(9_000, "amount") == "9,000 in minor units"


def test_a_schedule_is_told_in_words_with_its_time_zone() -> None:
    monthly = CronSchedule("0 8 1 * *", "Europe/Berlin")
    assert schedule(monthly) == "at 08:00 on the first day of every month (Europe/Berlin)"
    assert local_moment(datetime(2026, 7, 1, 6, tzinfo=UTC), "Europe/Berlin") == (
        "Wed 2026-07-01 08:00 CEST"
    )


def event(second: int) -> TransferEvent:
    moment = START + timedelta(seconds=second)
    return TransferEvent(TransferId(NOBODY), 1, Step.RESERVE, TransferStage.RESERVED, None, moment)


def record(second: int, what: str, attempt: int | None = None) -> HistoryRecord:
    moment = START + timedelta(seconds=second)
    return HistoryRecord("run", second, moment, what, "post_entries", attempt, "disk full")


def test_failed_attempts_stand_between_the_stages() -> None:
    records = [
        record(1, "local activity completed", 1),
        record(2, "local activity failed", 3),
        record(3, "activity started", 1),
        record(4, "activity pending", 5),
    ]
    timeline = timeline_of([event(0), event(9)], records)
    told = [
        None if each.attempts is None else (each.attempts.failed, each.attempts.is_pending)
        for each in timeline.moments
    ]
    assert told == [None, (3, False), (4, True), None]
    assert (timeline.steps, timeline.failures, timeline.are_attempts_known) == (1, 2, True)
    assert not timeline_of([event(0)], None).are_attempts_known


def test_ids_follow_the_time_of_their_making() -> None:
    before = first_id_since(datetime.now(UTC) - timedelta(seconds=1))
    after = first_id_since(datetime.now(UTC) + timedelta(seconds=1))
    assert before < new_uuid() < after
    assert first_id_since(datetime(1900, 1, 1, tzinfo=UTC)) == UUID(int=0)
