"""Currencies of ISO 4217, from the ``iso4217`` package's copy of the standard's own table."""

from functools import lru_cache
from typing import Final

import iso4217

from domain.money import Currency

CURRENCIES_KEPT: Final = 512
"""Codes that are remembered as they were looked up; there are some 180 currencies."""


@lru_cache(maxsize=CURRENCIES_KEPT)
def find_currency(code: str) -> Currency | None:
    """Find a currency that amounts can be kept in; ``None`` for any other code.

    Notes
    -----
    Codes without a minor unit (gold XAU, testing XTS, no currency XXX) are no currencies here.
    Codes are capitals, as the standard writes them.
    """
    if not code.isascii() or not code.isupper():
        return None
    try:
        found = iso4217.Currency(code)
    except ValueError:
        return None
    if found.exponent is None:
        return None
    return Currency(code=found.code, exponent=found.exponent, name=found.currency_name)
