"""How the console writes amounts, times, durations and words."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import ZoneInfo

from cronsim import CronSim

from domain.money import Currency
from domain.operator_actions import ActionOutcome
from domain.standing_orders import IntervalSchedule, OrderSchedule
from services.currencies import find_currency

MINUTE_SECONDS: Final = 60
HOUR_SECONDS: Final = 3600
DAY_SECONDS: Final = 24 * 3600
CHARACTERS_SHOWN: Final = 8
"""Characters of an id that are shown where it only has to be recognised."""

_TONES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "SUCCESS": "good",
        "COMPLETED": "good",
        "SUCCEEDED": "good",
        "ACTIVE": "good",
        "CAPTURED": "good",
        "FAILED": "bad",
        "REJECTED": "bad",
        "CANCELLED": "quiet",
        "AWAITING_APPROVAL": "waiting",
        "SCHEDULED": "waiting",
        "PAUSED": "waiting",
        "HELD": "waiting",
        "FROZEN": "frozen",
        "PROCESSING": "busy",
        "ACCEPTED": "busy",
        "RESERVED": "busy",
        "POSTED": "busy",
        "STAGED": "busy",
        "RUNNING": "busy",
        "PENDING": "quiet",
        "TERMINATED": "bad",
        "TIMED_OUT": "bad",
    }
)

_OUTCOME_TONES: Final[Mapping[ActionOutcome, str]] = MappingProxyType(
    {
        ActionOutcome.WOULD_BE_DONE: "busy",
        ActionOutcome.DONE: "good",
        ActionOutcome.UNDER_WAY: "busy",
        ActionOutcome.NOTHING_TO_DO: "quiet",
        ActionOutcome.REFUSED: "bad",
        ActionOutcome.FAILED: "bad",
    }
)


@lru_cache(maxsize=512)
def currency_of(code: str) -> Currency:
    """Find a currency; one that is not known any more is written in its minor units."""
    return find_currency(code) or Currency(code, 0, code)


def decimal(amount_minor: int, code: str) -> str:
    """Write an amount in major units, with thousands in groups: ``-1,234.56``."""
    return currency_of(code).decimal(amount_minor, grouped=True).replace("-", "\N{MINUS SIGN}")


def tone(word: str) -> str:
    """Tell which colour goes with a state."""
    return _TONES.get(word, "quiet")


def outcome_tone(outcome: ActionOutcome) -> str:
    """Tell which colour goes with what became of an operator's action."""
    return _OUTCOME_TONES[outcome]


def words(name: str) -> str:
    """Write a name as words: ``AWAITING_APPROVAL`` is ``Awaiting approval``."""
    return name.replace("_", " ").replace(".", " ").capitalize()


def short(identifier: object) -> str:
    """Write the end of an id, which differs where its beginning is but the time."""
    return str(identifier)[-CHARACTERS_SHOWN:]


def moment(value: datetime) -> str:
    """Write a time in UTC, to the second."""
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def ago(value: datetime) -> str:
    """Write how long ago a time is, or how far ahead, in its largest unit."""
    seconds = (datetime.now(UTC) - value).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"{_largest(seconds)} ago" if seconds > 0 else f"in {_largest(-seconds)}"


def duration(value: timedelta | float | None) -> str:
    """Write how long something takes: ``38 ms``, ``2.4 s``, ``3 min``, ``2 h``."""
    if value is None:
        return "\N{EN DASH}"
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < MINUTE_SECONDS:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    return _largest(seconds)


def _largest(seconds: float) -> str:
    for unit_seconds, unit in ((DAY_SECONDS, "d"), (HOUR_SECONDS, "h"), (MINUTE_SECONDS, "min")):
        if seconds >= unit_seconds:
            return f"{seconds // unit_seconds:.0f} {unit}"
    return f"{seconds:.0f} s"


def count(value: int) -> str:
    """Write a number with its thousands in groups."""
    return f"{value:,}"


def percent(share: float | None) -> str:
    """Write a part of a whole; 100 % only where nothing is missing."""
    if share is None:
        return "\N{EN DASH}"
    if share < 1:
        share = min(share, 0.9999)
    return f"{share * 100:.2f}".rstrip("0").rstrip(".") + " %"


def schedule(value: OrderSchedule) -> str:
    """Write when a standing order runs, in words."""
    if isinstance(value, IntervalSchedule):
        return f"every {_largest(value.seconds)}"
    told = CronSim(value.expression, datetime.now(UTC)).explain()
    return f"{told[:1].lower()}{told[1:]} ({value.time_zone})"


def local_moment(value: datetime, time_zone: str) -> str:
    """Write a time by the clock of a time zone, to the minute."""
    return value.astimezone(ZoneInfo(time_zone)).strftime("%a %Y-%m-%d %H:%M %Z")


FILTERS: Final[Mapping[str, Callable[..., Any]]] = MappingProxyType(
    {
        "ago": ago,
        "count": count,
        "decimal": decimal,
        "duration": duration,
        "local_moment": local_moment,
        "moment": moment,
        "outcome_tone": outcome_tone,
        "percent": percent,
        "schedule": schedule,
        "short": short,
        "tone": tone,
        "words": words,
    }
)
