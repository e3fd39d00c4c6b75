"""What has happened between two readings of metrics."""

import pytest

from runtime.scrapes import Interval, Scrape

BEFORE = """\
# TYPE outcomes_total counter
outcomes_total{state="SUCCESS",code=""} 10
outcomes_total{state="FAILED",code="insufficient_funds"} 4
# TYPE seconds histogram
seconds_bucket{route="/a",le="0.1"} 5
seconds_bucket{route="/a",le="1"} 5
seconds_bucket{route="/a",le="+Inf"} 5
seconds_sum{route="/a"} 0.2
seconds_count{route="/a"} 5
"""
AFTER = """\
# TYPE outcomes_total counter
outcomes_total{state="SUCCESS",code=""} 30
outcomes_total{state="FAILED",code="insufficient_funds"} 2
outcomes_total{state="FAILED",code="account_frozen"} 6
# TYPE seconds histogram
seconds_bucket{route="/a",le="0.1"} 10
seconds_bucket{route="/a",le="1"} 14
seconds_bucket{route="/a",le="+Inf"} 15
seconds_sum{route="/a"} 9
seconds_count{route="/a"} 15
# TYPE held gauge
held{currency="EUR"} 7
held{currency="USD"} 8
"""


@pytest.fixture
def interval() -> Interval:
    return Interval(Scrape.read(BEFORE, 100.0), Scrape.read(AFTER, 102.0))


def test_a_rate_is_the_growth_in_a_second(interval: Interval) -> None:
    assert interval.per_second("outcomes_total", state="SUCCESS") == 10


def test_a_counter_that_fell_began_anew_and_one_that_came_began_at_nothing(
    interval: Interval,
) -> None:
    rates = interval.per_second_by("code", "outcomes_total", state="FAILED")
    assert rates == {"insufficient_funds": 1, "account_frozen": 3}


def test_quantiles_are_of_what_came_in_between(interval: Interval) -> None:
    # Of ten, five took up to 0.1 s, four up to 1 s, and one longer.
    assert interval.quantiles("seconds", (0.25, 0.5, 0.7, 0.99)) == pytest.approx(
        [0.05, 0.1, 0.55, 1.0]
    )


def test_nothing_has_no_quantiles_and_no_rate(interval: Interval) -> None:
    still = Interval(interval.after, Scrape.read(AFTER, 104.0))
    assert still.quantiles("seconds", (0.5,)) == [None]
    assert still.per_second_by("code", "outcomes_total") == {}
    assert still.quantiles("unknown", (0.5,)) == [None]


def test_values_are_added_up_for_each_label(interval: Interval) -> None:
    assert interval.after.by("currency", "held") == {"EUR": 7, "USD": 8}
    assert interval.after.total("held", currency="USD") == 8


def test_what_is_no_metrics_is_refused() -> None:
    with pytest.raises(ValueError, match="html"):
        Scrape.read("<!doctype html>\n<p>{", 0.0)
