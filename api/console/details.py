"""How the console writes what events and audit records say beside their own columns."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from api.console.formats import count, currency_of, duration, moment, words

_MONEY: Final = frozenset(
    {"amount", "threshold", "overdraft_limit", "per_transfer", "per_day", "per_month"}
)
"""Names whose numbers are minor units."""
_SECONDS: Final = "_seconds"
_TIME: Final = ("_at", "instead_of")
_PLAIN: Final = {None: "none", True: "yes", False: "no"}
_BOUNDS: Final = frozenset({"from", "to"})


def detail_name(name: str) -> str:
    """Write a detail's name as words, without the unit that its value is written with."""
    return words(name.removesuffix(_SECONDS))


def detail(value: Any, name: str = "", currency: str | None = None) -> str:
    """Write a detail's value as people read it.

    Parameters
    ----------
    name
        What it is, which tells its unit.
    currency
        Of amounts; without one they are written in minor units, and said to be.
    """
    match value:
        case None | bool():
            return _PLAIN[value]
        case int():
            return _number(value, name, currency)
        case str():
            return _text(value, name)
        case Mapping():
            return ", ".join(
                f"{words(key).lower()} {detail(each, name if key in _BOUNDS else key, currency)}"
                for key, each in sorted(value.items())
            )
        case Iterable():
            return ", ".join(detail(each, name, currency) for each in value)
    return str(value)


def _number(value: int, name: str, currency: str | None) -> str:
    if name.endswith(_SECONDS):
        return duration(value)
    if name not in _MONEY:
        return count(value)
    if currency is None:
        return f"{count(value)} in minor units"
    return currency_of(currency).format(value)


def _text(value: str, name: str) -> str:
    if not name.endswith(_TIME):
        return value
    try:
        return moment(datetime.fromisoformat(value))
    except ValueError:
        return value
