"""What the search of transfers asks for, read from an address as people write it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from api.console.formats import currency_of
from domain.accounts import AccountReference
from domain.ids import AccountId, TransferId, parse_uuid
from domain.limits import AMOUNT_MAXIMUM_MINOR
from domain.states import ProcessState, TransferStage
from domain.transfers import TransferType
from persistence.transfers import TransferFilter
from services.currencies import find_currency

FIELDS: Final = (
    "q",
    "state",
    "type",
    "account",
    "currency",
    "amount_from",
    "amount_to",
    "from",
    "to",
    "metadata",
)
"""The form's fields, as they stand in an address."""

STAGES_OFFERED: Final = (
    TransferStage.AWAITING_APPROVAL,
    TransferStage.SCHEDULED,
    TransferStage.RESERVED,
    TransferStage.POSTED,
)


@dataclass(frozen=True, slots=True)
class Search:
    """What was asked for.

    Parameters
    ----------
    fields
        The form as it was filled in, empty where it was not.
    problems
        What is wrong with it, by field.
    """

    fields: Mapping[str, str]
    wanted: TransferFilter
    problems: Mapping[str, str]

    @property
    def is_empty(self) -> bool:
        """Whether nothing restricts the list."""
        return not any(self.fields.values())

    @property
    def transfer_id(self) -> TransferId | None:
        """The id that was asked for, which may be a transfer's or an account's."""
        uuid = parse_uuid(self.fields["q"])
        return None if uuid is None else TransferId(uuid)

    @property
    def account(self) -> AccountReference | None:
        """The account that was asked for by whichever of its names."""
        text = self.fields["account"] or self.fields["q"]
        try:
            return AccountReference.parse(text)
        except ValueError:
            return None


def read_search(query: Mapping[str, str], *, account_id: AccountId | None = None) -> Search:
    """Read a search.

    Parameters
    ----------
    account_id
        The account that the search names, once it is found.
    """
    fields = {name: query.get(name, "").strip() for name in FIELDS}
    reading = _Reading(fields)
    currency = reading.currency()
    key = fields["q"] if account_id is None and fields["q"] else None
    wanted = TransferFilter(
        state=reading.state(),
        stage=reading.stage(),
        type=reading.choice("type", TransferType),
        account_id=account_id,
        idempotency_key=key,
        created_from=reading.moment("from"),
        created_to=reading.moment("to"),
        currency=currency,
        amount_from_minor=reading.amount("amount_from", currency),
        amount_to_minor=reading.amount("amount_to", currency),
        metadata=reading.metadata(),
    )
    return Search(fields, wanted, reading.problems)


class _Reading:
    """Reads fields one by one, and notes what is wrong."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = fields
        self.problems: dict[str, str] = {}

    def choice(self, name: str, kind: type[Any]) -> Any:
        text = self._fields[name]
        if not text:
            return None
        try:
            return kind(text)
        except ValueError:
            self.problems[name] = "is not one of the choices"
            return None

    def state(self) -> ProcessState | None:
        text = self._fields["state"]
        return None if text in set(TransferStage) else self.choice("state", ProcessState)

    def stage(self) -> TransferStage | None:
        text = self._fields["state"]
        return TransferStage(text) if text in set(STAGES_OFFERED) else None

    def currency(self) -> str | None:
        code = self._fields["currency"].upper()
        if not code:
            return None
        if find_currency(code) is None:
            self.problems["currency"] = "is no currency of ISO 4217"
            return None
        return code

    def amount(self, name: str, currency: str | None) -> int | None:
        text = self._fields[name].replace(",", "")
        if not text:
            return None
        if currency is None:
            self.problems[name] = "needs a currency beside it"
            return None
        try:
            minor = Decimal(text).scaleb(currency_of(currency).exponent)
        except ArithmeticError:
            minor = Decimal("NaN")
        if not minor.is_finite() or not 0 <= minor <= AMOUNT_MAXIMUM_MINOR:
            self.problems[name] = "is no amount, such as 12.50"
            return None
        return int(minor)

    def moment(self, name: str) -> datetime | None:
        text = self._fields[name]
        if not text:
            return None
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            self.problems[name] = "is no time, such as 2026-01-31T12:00"
            return None
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)

    def metadata(self) -> Mapping[str, Any] | None:
        text = self._fields["metadata"]
        if not text:
            return None
        name, separator, value = text.partition("=")
        if not separator or not name.strip():
            self.problems["metadata"] = "is written as name=value, such as invoice=4711"
            return None
        return {name.strip(): metadata_value(value.strip())}


def metadata_value(text: str) -> Any:
    """Read a value of metadata: in quotes it is a text, else what JSON makes of it, else a text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
