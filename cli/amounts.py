"""Amounts as a person types them."""

from decimal import Decimal, InvalidOperation

from cli.failures import CommandFailed
from services.currencies import find_currency


def parse_amount(text: str, currency: str) -> int:
    """Read an amount of minor units.

    Raises
    ------
    CommandFailed
        It is no whole number. Where it looks like major units, the message says how to write it.
    """
    if text.isascii() and text.isdigit():
        return int(text)
    raise CommandFailed(
        f"--amount takes a whole number of minor units, not {text!r}.{_hint(text, currency)}"
    )


def _hint(text: str, currency: str) -> str:
    found = find_currency(currency)
    try:
        amount = Decimal(text.replace(",", "."))
    except InvalidOperation:
        return ""
    if found is None or not amount.is_finite() or amount <= 0:
        return ""
    minor = amount.scaleb(found.exponent)
    if minor != minor.to_integral_value():
        return f" {found.code} has {found.exponent} decimal places."
    return f" For {found.format(int(minor))} give --amount {int(minor)}."
