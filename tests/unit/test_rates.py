"""How rate limits are counted."""

import mmap

import pytest

from api.rates import (
    KNOWN_LOGINS_MAXIMUM,
    PROBES_MAXIMUM,
    RATE_MEMORY_BYTES,
    RATE_SLOTS,
    RateLimits,
    RateTable,
)
from domain.errors import TooManyFailedLogins

ADDRESS = "192.0.2.7"


class Clock:
    """A time that goes by when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def table(clock: Clock) -> RateTable:
    return RateTable(mmap.mmap(-1, RATE_MEMORY_BYTES), clock)


def taken(table: RateTable, caller: int, tries: int, *, rate: float = 10, burst: int = 5) -> int:
    return sum(table.take(caller, rate, burst).is_allowed for _ in range(tries))


def test_a_burst_is_let_through_and_no_more(table: RateTable) -> None:
    assert taken(table, 1, 20) == 5


def test_time_gives_back_at_the_rate_and_up_to_the_burst(table: RateTable, clock: Clock) -> None:
    taken(table, 1, 5)
    clock.now += 0.2
    assert taken(table, 1, 20) == 2
    clock.now += 3_600
    assert taken(table, 1, 20) == 5


def test_what_is_refused_is_not_counted(table: RateTable, clock: Clock) -> None:
    taken(table, 1, 1_000)
    clock.now += 0.1
    assert taken(table, 1, 1) == 1


def test_a_refusal_tells_when_the_next_is_let_through(table: RateTable, clock: Clock) -> None:
    taken(table, 1, 5)
    refused = table.take(1, 10, 5)
    assert (refused.is_allowed, refused.left) == (False, 0)
    assert refused.wait_seconds == pytest.approx(0.1)
    clock.now += refused.wait_seconds + 1e-6
    assert table.take(1, 10, 5).is_allowed


def test_what_is_left_is_told(table: RateTable) -> None:
    assert [table.take(1, 10, 5).left for _ in range(5)] == [4, 3, 2, 1, 0]


def test_callers_do_not_count_for_each_other_also_in_one_place(table: RateTable) -> None:
    neighbours = [1 + number * RATE_SLOTS for number in range(PROBES_MAXIMUM)]
    assert [taken(table, caller, 9) for caller in neighbours] == [5] * PROBES_MAXIMUM


def test_a_place_is_taken_over_once_its_caller_has_made_up(table: RateTable, clock: Clock) -> None:
    callers = [1 + number * RATE_SLOTS for number in range(PROBES_MAXIMUM + 1)]
    for caller in callers[:-1]:
        taken(table, caller, 5)
    assert taken(table, callers[-1], 9) == 9  # there is no place left to count it
    clock.now += 1
    assert taken(table, callers[-1], 9) == 5


def test_two_tables_over_one_memory_count_together(clock: Clock) -> None:
    memory = mmap.mmap(-1, RATE_MEMORY_BYTES)
    one, other = RateTable(memory, clock), RateTable(memory, clock)
    assert taken(one, 7, 3) + taken(other, 7, 9) == 5


def test_an_address_that_fails_too_often_is_refused(table: RateTable, clock: Clock) -> None:
    limits = RateLimits(table, failed_logins_per_minute=3)
    for guess in ("a", "b", "c"):
        limits.admit_login(ADDRESS, guess)
        limits.login_failed(ADDRESS, guess)
    with pytest.raises(TooManyFailedLogins) as refused:
        limits.admit_login(ADDRESS, "d")
    assert refused.value.retry_after_seconds == pytest.approx(20)
    limits.admit_login("192.0.2.8", "d")
    clock.now += 21
    limits.admit_login(ADDRESS, "d")


def test_a_good_key_goes_on_behind_an_address_that_fails(table: RateTable) -> None:
    limits = RateLimits(table, failed_logins_per_minute=3)
    limits.login_passed("good")
    for _ in range(3):
        limits.login_failed(ADDRESS, "guess")
    limits.admit_login(ADDRESS, "good")
    limits.login_failed(ADDRESS, "good")  # revoked meanwhile
    with pytest.raises(TooManyFailedLogins):
        limits.admit_login(ADDRESS, "good")


def test_good_logins_do_not_use_up_what_may_fail(table: RateTable) -> None:
    limits = RateLimits(table, failed_logins_per_minute=1)
    for number in range(KNOWN_LOGINS_MAXIMUM + 2):
        limits.admit_login(ADDRESS, f"key-{number}")
        limits.login_passed(f"key-{number}")
    limits.login_failed(ADDRESS, "guess")
    limits.admit_login(ADDRESS, f"key-{KNOWN_LOGINS_MAXIMUM}")
    with pytest.raises(TooManyFailedLogins):
        limits.admit_login(ADDRESS, "key-0")
