"""New identifiers."""

import secrets
from uuid import UUID

from uuid_utils.compat import uuid7

from domain.account_numbers import BODY_MAXIMUM, BODY_MINIMUM, account_number_from


def new_uuid() -> UUID:
    """Make a UUID of version 7: later ones sort after earlier ones."""
    return uuid7()


def new_account_number() -> str:
    """Draw an account number at random; the database tells whether it is free."""
    return account_number_from(BODY_MINIMUM + secrets.randbelow(BODY_MAXIMUM - BODY_MINIMUM + 1))
