"""Money in minor units. Never a float: amounts are ``int`` here and ``NUMERIC(38, 0)`` in SQL."""

from dataclasses import dataclass
from typing import Self

from domain.errors import CurrencyMismatch
from domain.limits import AMOUNT_MAXIMUM_MINOR, AMOUNT_MINIMUM_MINOR


@dataclass(frozen=True, slots=True)
class Currency:
    """A currency of ISO 4217.

    Parameters
    ----------
    code
        Three capital letters.
    exponent
        Decimal places between the major and the minor unit: 2 for USD, 0 for JPY, 3 for BHD.
    """

    code: str
    exponent: int
    name: str

    def format(self, amount_minor: int) -> str:
        """Write an amount in major units, exactly: ``-123456`` of USD is ``-1,234.56 USD``."""
        return f"{self.decimal(amount_minor, grouped=True)} {self.code}"

    def decimal(self, amount_minor: int, *, grouped: bool = False) -> str:
        """Write an amount in major units, exactly, without its code: ``-1234.56``.

        Parameters
        ----------
        grouped
            Put commas between thousands.
        """
        sign = "-" if amount_minor < 0 else ""
        digits = str(abs(amount_minor)).zfill(self.exponent + 1)
        split = len(digits) - self.exponent
        whole = f"{int(digits[:split]):,}" if grouped else digits[:split]
        return f"{sign}{whole}.{digits[split:]}" if self.exponent else f"{sign}{whole}"


@dataclass(frozen=True, slots=True)
class Money:
    """An amount of one currency, as a transfer carries it.

    Parameters
    ----------
    amount_minor
        Minor units, from ``AMOUNT_MINIMUM_MINOR`` to ``AMOUNT_MAXIMUM_MINOR``.
    currency
        Code of ISO 4217.

    Raises
    ------
    TypeError
        The amount is not an ``int`` (booleans and floats included).
    ValueError
        The amount is out of bounds.
    """

    amount_minor: int
    currency: str

    def __post_init__(self) -> None:
        # mypy sees an int; callers that mypy never saw may pass anything.
        if type(self.amount_minor) is not int:
            raise TypeError(f"amount_minor must be an int, not {type(self.amount_minor).__name__}")
        if not AMOUNT_MINIMUM_MINOR <= self.amount_minor <= AMOUNT_MAXIMUM_MINOR:
            raise ValueError(
                f"amount_minor must be {AMOUNT_MINIMUM_MINOR} to {AMOUNT_MAXIMUM_MINOR}, "
                f"not {self.amount_minor}"
            )

    def plus(self, other: Self) -> Self:
        """Add an amount of the same currency.

        Raises
        ------
        CurrencyMismatch
            The currencies differ.
        """
        if other.currency != self.currency:
            raise CurrencyMismatch(expected=self.currency, actual=other.currency)
        return type(self)(self.amount_minor + other.amount_minor, self.currency)
