"""Account numbers: 14 digits and 2 check digits by ISO/IEC 7064, MOD 97-10.

The scheme is that of IBAN and of the creditor reference (ISO 11649): every single wrong digit and
every swap of two neighbours is found. The numbers are random, so that they tell neither how many
accounts there are nor how old one is.
"""

import re
from typing import Final

BODY_DIGITS: Final = 14
BODY_MINIMUM: Final = 10 ** (BODY_DIGITS - 1)
BODY_MAXIMUM: Final = 10**BODY_DIGITS - 1
_MODULUS: Final = 97
_NUMBER: Final = re.compile(rf"[1-9][0-9]{{{BODY_DIGITS + 1}}}")


def account_number_from(body: int) -> str:
    """Append the two check digits to a body.

    Parameters
    ----------
    body
        From ``BODY_MINIMUM`` to ``BODY_MAXIMUM``, both included.

    Raises
    ------
    ValueError
        The body is out of bounds.
    """
    if not BODY_MINIMUM <= body <= BODY_MAXIMUM:
        raise ValueError(f"an account number's body has {BODY_DIGITS} digits, not {body}")
    check = _MODULUS + 1 - (body * 100) % _MODULUS
    return f"{body}{check:02d}"


def is_account_number(text: str) -> bool:
    """Tell whether a text has the shape of an account number and right check digits."""
    return bool(_NUMBER.fullmatch(text)) and int(text) % _MODULUS == 1


def looks_like_account_number(text: str) -> bool:
    """Tell whether a text has the shape of an account number, whatever its check digits."""
    return bool(_NUMBER.fullmatch(text))
