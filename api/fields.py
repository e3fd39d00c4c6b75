"""Field types of requests: each says what it takes, and what is wrong with what it got."""

import json
import math
import re
import unicodedata
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from domain.accounts import AccountReference, is_external_id
from domain.limits import (
    AMOUNT_MAXIMUM_MINOR,
    AMOUNT_MINIMUM_MINOR,
    DESCRIPTION_LENGTH_MAXIMUM,
    EFFECTIVE_AT_YEAR_MAXIMUM,
    EFFECTIVE_AT_YEAR_MINIMUM,
    EXTERNAL_ID_LENGTH_MAXIMUM,
    HOLD_SECONDS_MAXIMUM,
    METADATA_BYTES_MAXIMUM,
    METADATA_DEPTH_MAXIMUM,
    METADATA_ENTRIES_MAXIMUM,
    NAME_LENGTH_MAXIMUM,
    NOTE_LENGTH_MAXIMUM,
)
from services.currencies import find_currency

_DIGITS: Final = re.compile(r"(0|[1-9][0-9]{0,30})")
_RFC_3339: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})"
)
_COMPACT: Final = json.JSONEncoder(separators=(",", ":"))
_INTEGER_BITS_MAXIMUM: Final = 256
"""Larger integers in metadata are refused: nothing that reads JSON keeps them."""


def _minor_units(value: Any) -> int:
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    if type(value) is int:
        return value
    raise PydanticCustomError(
        "amount_type",
        "must be an integer of minor units, as a JSON integer or a string of digits",
    )


def _amount(value: Any) -> int:
    amount_minor = _minor_units(value)
    if not AMOUNT_MINIMUM_MINOR <= amount_minor <= AMOUNT_MAXIMUM_MINOR:
        raise PydanticCustomError(
            "amount_range", "must be 1 to 10^30, in minor units of the currency"
        )
    return amount_minor


def _amount_from_zero(value: Any) -> int:
    amount_minor = _minor_units(value)
    if not 0 <= amount_minor <= AMOUNT_MAXIMUM_MINOR:
        raise PydanticCustomError(
            "amount_range", "must be 0 to 10^30, in minor units of the currency"
        )
    return amount_minor


def _overdraft_limit(value: Any) -> int:
    limit_minor = _minor_units(value)
    if not 0 <= limit_minor <= AMOUNT_MAXIMUM_MINOR:
        raise PydanticCustomError(
            "overdraft_limit_range", "must be 0 to 10^30, in minor units of the currency"
        )
    return limit_minor


def _currency(value: str) -> str:
    if find_currency(value) is None:
        raise PydanticCustomError(
            "unknown_currency",
            "must be the code of a currency of ISO 4217, three capitals such as EUR",
        )
    return value


def _plain_text(value: str) -> str:
    # Quickly told of nearly all: neither of the two categories is printable.
    if value.isprintable():
        return value
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in value):
        raise PydanticCustomError("control_character", "must not hold control characters")
    return value


def _external_id(value: str) -> str:
    if not is_external_id(value):
        raise PydanticCustomError(
            "external_id_form",
            f"must be 1 to {EXTERNAL_ID_LENGTH_MAXIMUM} visible ASCII characters other than /",
        )
    return value


def _account_reference(value: Any) -> AccountReference:
    try:
        if not isinstance(value, str):
            raise ValueError("must be a string")  # noqa: TRY004, TRY301 - one path for all
        return AccountReference.parse(value)
    except ValueError as error:
        raise PydanticCustomError("account_reference", "{reason}", {"reason": str(error)}) from None


def _moment(value: Any) -> datetime:
    try:
        if not (isinstance(value, str) and _RFC_3339.fullmatch(value)):
            raise ValueError  # noqa: TRY301 - one message for all that is no time
        moment = datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise PydanticCustomError(
            "time_form", "must be a time of RFC 3339 with its offset, such as 2026-01-31T12:00:00Z"
        ) from None
    if not EFFECTIVE_AT_YEAR_MINIMUM <= moment.year <= EFFECTIVE_AT_YEAR_MAXIMUM:
        raise PydanticCustomError(
            "time_range",
            f"must lie in the years {EFFECTIVE_AT_YEAR_MINIMUM} to {EFFECTIVE_AT_YEAR_MAXIMUM}",
        )
    return moment


def _metadata(value: dict[str, Any]) -> dict[str, Any]:
    if len(value) > METADATA_ENTRIES_MAXIMUM:
        raise PydanticCustomError(
            "metadata_entries", f"must have at most {METADATA_ENTRIES_MAXIMUM} entries"
        )
    _require_storable(value, METADATA_DEPTH_MAXIMUM)
    if len(_COMPACT.encode(value)) > METADATA_BYTES_MAXIMUM:
        raise PydanticCustomError(
            "metadata_size", f"must take at most {METADATA_BYTES_MAXIMUM} bytes as JSON"
        )
    return value


def _require_storable(value: Any, depth_left: int) -> None:
    """Refuse what JSON in the database cannot hold as it was sent."""
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise PydanticCustomError(
                "metadata_text", "must not hold the character NUL or lone surrogates"
            )
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise PydanticCustomError("metadata_number", "must hold finite numbers only")
    elif isinstance(value, int):
        if value.bit_length() > _INTEGER_BITS_MAXIMUM:
            raise PydanticCustomError("metadata_number", "must not hold integers so large")
    elif isinstance(value, dict | list):
        if not depth_left:
            raise PydanticCustomError(
                "metadata_depth", f"must be nested at most {METADATA_DEPTH_MAXIMUM} deep"
            )
        parts = [*value.keys(), *value.values()] if isinstance(value, dict) else value
        for part in parts:
            _require_storable(part, depth_left - 1)


_AMOUNT_SCHEMA: Final = {
    "anyOf": [
        {"type": "integer", "minimum": AMOUNT_MINIMUM_MINOR, "maximum": AMOUNT_MAXIMUM_MINOR},
        {"type": "string", "pattern": "^([1-9][0-9]{0,29}|10{30})$"},
    ],
    "description": "Minor units of the currency: 1234 of USD is 12.34 USD.",
}

_AMOUNT_FROM_ZERO_SCHEMA: Final = {
    "anyOf": [
        {"type": "integer", "minimum": 0, "maximum": AMOUNT_MAXIMUM_MINOR},
        {"type": "string", "pattern": "^(0|[1-9][0-9]{0,29}|10{30})$"},
    ],
    "description": "Minor units of the currency.",
}

_PLAIN_TEXT: Final = {"pattern": r"^[^\u0000-\u001f\u007f-\u009f]*$"}
"""In a schema: no control characters."""

_METADATA_SCHEMA: Final = {
    "type": "object",
    "additionalProperties": True,
    "maxProperties": METADATA_ENTRIES_MAXIMUM,
    "description": f"At most {METADATA_DEPTH_MAXIMUM} levels and {METADATA_BYTES_MAXIMUM} bytes as "
    f"JSON; no NUL, and no integers of more than {_INTEGER_BITS_MAXIMUM} bits.",
}

Amount: TypeAlias = Annotated[int, BeforeValidator(_amount), WithJsonSchema(_AMOUNT_SCHEMA)]
AmountFromZero: TypeAlias = Annotated[
    int, BeforeValidator(_amount_from_zero), WithJsonSchema(_AMOUNT_FROM_ZERO_SCHEMA)
]
OverdraftLimit: TypeAlias = Annotated[
    int, BeforeValidator(_overdraft_limit), WithJsonSchema(_AMOUNT_FROM_ZERO_SCHEMA)
]
CurrencyCode: TypeAlias = Annotated[
    str,
    AfterValidator(_currency),
    WithJsonSchema({"type": "string", "pattern": "^[A-Z]{3}$", "description": "ISO 4217 code."}),
]
HoldSeconds: TypeAlias = Annotated[int, Field(strict=True, ge=1, le=HOLD_SECONDS_MAXIMUM)]
Name: TypeAlias = Annotated[
    str,
    Field(min_length=1, max_length=NAME_LENGTH_MAXIMUM, json_schema_extra=_PLAIN_TEXT),
    AfterValidator(_plain_text),
]
Note: TypeAlias = Annotated[
    str,
    Field(min_length=1, max_length=NOTE_LENGTH_MAXIMUM, json_schema_extra=_PLAIN_TEXT),
    AfterValidator(_plain_text),
]
Description: TypeAlias = Annotated[
    str,
    Field(max_length=DESCRIPTION_LENGTH_MAXIMUM, json_schema_extra=_PLAIN_TEXT),
    AfterValidator(_plain_text),
]
ExternalId: TypeAlias = Annotated[
    str,
    AfterValidator(_external_id),
    WithJsonSchema({"type": "string", "pattern": f"^[!-.0-~]{{1,{EXTERNAL_ID_LENGTH_MAXIMUM}}}$"}),
]
AccountName: TypeAlias = Annotated[
    AccountReference,
    PlainValidator(_account_reference),
    WithJsonSchema(
        {
            "type": "string",
            "description": "An account's UUID, its account number, or ext:<external_id>.",
        }
    ),
]
Moment: TypeAlias = Annotated[
    datetime,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Metadata: TypeAlias = Annotated[
    dict[str, Any], AfterValidator(_metadata), WithJsonSchema(_METADATA_SCHEMA)
]
