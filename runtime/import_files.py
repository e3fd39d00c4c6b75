"""The two files of an import: read row by row, refused where they are not of the format."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, NoReturn

from domain.accounts import EXTERNAL_ID_PREFIX, is_external_id
from domain.limits import AMOUNT_MAXIMUM_MINOR
from domain.transfers import TransferType
from services.currencies import find_currency

ACCOUNT_COLUMNS: Final = ("external_id", "user_external_id", "currency")
ACCOUNT_COLUMNS_OPTIONAL: Final = ("overdraft_limit", "user_name")
TRANSFER_COLUMNS: Final = ("idempotency_key", "amount", "currency")
TRANSFER_COLUMNS_OPTIONAL: Final = (
    "type",
    "account",
    "source",
    "destination",
    "effective_at",
    "description",
)
REJECT_COLUMNS: Final = ("code", "detail")

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class ImportFileError(Exception):
    """A file is not of the import's format; the message names file, line and what is right."""


@dataclass(frozen=True, slots=True)
class AccountRow:
    """One account that is to exist.

    Parameters
    ----------
    place
        File and line, for messages.
    """

    place: str
    external_id: str
    user_external_id: str
    user_name: str
    currency: str
    overdraft_limit_minor: int

    @property
    def reference(self) -> str:
        """How transfers name it."""
        return EXTERNAL_ID_PREFIX + self.external_id


@dataclass(frozen=True, slots=True)
class TransferRow:
    """One transfer that is to be made: the row's fields, by column."""

    fields: Mapping[str, str]

    @property
    def key(self) -> str:
        """The row's idempotency key."""
        return self.fields["idempotency_key"]

    @property
    def type(self) -> str:
        """The transfer's type, as the row has it."""
        return self.fields.get("type") or TransferType.INTERNAL

    @property
    def source(self) -> str | None:
        """Name of the account that pays; a WITHDRAWAL may have it as ``account``."""
        return self._side("source", TransferType.WITHDRAWAL)

    @property
    def destination(self) -> str | None:
        """Name of the account that receives; a DEPOSIT may have it as ``account``."""
        return self._side("destination", TransferType.DEPOSIT)

    def body(self) -> dict[str, Any]:
        """Give the request that the row stands for; whether it is valid is the API's to say."""
        body = {
            "type": self.type,
            "source": self.source,
            "destination": self.destination,
            "amount": self.fields["amount"],
            "currency": self.fields["currency"],
            "description": self.fields.get("description"),
            "effective_at": self.fields.get("effective_at"),
        }
        return {name: value for name, value in body.items() if value}

    def _side(self, column: str, type_of_account: TransferType) -> str | None:
        named = self.fields.get(column)
        if not named and self.type == type_of_account:
            named = self.fields.get("account")
        return named or None


class CsvFile:
    """A CSV file in UTF-8 whose first line names the columns; read as a stream.

    Parameters
    ----------
    required
        Columns that must be there.
    optional
        Columns that are used where they are there.

    Raises
    ------
    ImportFileError
        It cannot be read, is empty, or its header is not right.
    """

    def __init__(self, path: Path, *, required: Sequence[str], optional: Sequence[str]) -> None:
        self.path = path
        with _opened(path) as file:
            self.columns = self._header(next(self._records(file), (1, []))[1])
        missing = [column for column in required if column not in self.columns]
        if missing:
            self._refuse(
                1,
                f"no column {', '.join(missing)}. The first line names the columns, "
                f"separated by commas: {','.join([*required, *optional])}",
            )
        self.ignored = [column for column in self.columns if column not in {*required, *optional}]

    def rows(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Read the rows below the header, each with its line number; blank lines are skipped.

        Raises
        ------
        ImportFileError
            A line is no CSV, not UTF-8, or has more or fewer fields than the header.
        """
        with _opened(self.path) as file:
            records = self._records(file)
            next(records)
            for line, record in records:
                if len(record) != len(self.columns):
                    self._refuse(
                        line, f"{len(record)} fields, where the header has {len(self.columns)}"
                    )
                yield line, dict(zip(self.columns, record, strict=True))

    def place(self, line: int) -> str:
        """Name a line of the file."""
        return f"{self.path}, line {line}"

    def _records(self, file: IO[bytes]) -> Iterator[tuple[int, list[str]]]:
        reader = csv.reader(self._lines(file), strict=True)
        try:
            for record in reader:
                if record:
                    yield reader.line_num, record
        except csv.Error as error:
            self._refuse(reader.line_num, f"no CSV ({error})")

    def _lines(self, file: IO[bytes]) -> Iterator[str]:
        # Decoded line by line, so that the line of a wrong character is known.
        for number, line in enumerate(file, start=1):
            try:
                yield line.removeprefix(_BYTE_ORDER_MARK if number == 1 else b"").decode()
            except UnicodeDecodeError:
                self._refuse(number, "not UTF-8")

    def _header(self, record: Sequence[str]) -> list[str]:
        columns = [column.strip() for column in record]
        if not columns:
            raise ImportFileError(f"{self.path} is empty; its first line must name the columns.")
        twice = sorted({column for column in columns if columns.count(column) > 1})
        if twice:
            self._refuse(1, f"column {', '.join(map(repr, twice))} stands more than once")
        return columns

    def _refuse(self, line: int, problem: str) -> NoReturn:
        raise ImportFileError(f"{self.place(line)}: {problem}.") from None


class AccountFile(CsvFile):
    """The accounts that an import needs."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, required=ACCOUNT_COLUMNS, optional=ACCOUNT_COLUMNS_OPTIONAL)

    def accounts(self) -> Iterator[AccountRow]:
        """Read the accounts.

        Raises
        ------
        ImportFileError
            A row is not one of this format, or its values are not valid.
        """
        for line, fields in self.rows():
            yield self._account(line, fields)

    def _account(self, line: int, fields: Mapping[str, str]) -> AccountRow:
        for column in ("external_id", "user_external_id"):
            if not is_external_id(fields[column]):
                self._refuse(line, f"{column} {fields[column]!r} is no external id")
        if find_currency(fields["currency"]) is None:
            self._refuse(line, f"currency {fields['currency']!r} is not in ISO 4217")
        limit = fields.get("overdraft_limit") or "0"
        if not (limit.isascii() and limit.isdigit()) or int(limit) > AMOUNT_MAXIMUM_MINOR:
            self._refuse(line, f"overdraft_limit {limit!r} is no number of minor units")
        return AccountRow(
            place=self.place(line),
            external_id=fields["external_id"],
            user_external_id=fields["user_external_id"],
            user_name=fields.get("user_name") or fields["user_external_id"],
            currency=fields["currency"],
            overdraft_limit_minor=int(limit),
        )


class TransferFile(CsvFile):
    """The transfers of an import, in the order in which they are to be made."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, required=TRANSFER_COLUMNS, optional=TRANSFER_COLUMNS_OPTIONAL)
        if not {"account", "source", "destination"} & set(self.columns):
            self._refuse(
                1,
                "no column says between which accounts: account (for DEPOSIT and WITHDRAWAL), or "
                "source and destination",
            )

    def transfers(self) -> Iterator[TransferRow]:
        """Read the transfers.

        Raises
        ------
        ImportFileError
            A row is not one of this format.
        """
        for _line, fields in self.rows():
            yield TransferRow(fields)

    def count(self) -> int:
        """Read the file to its end, and tell how many transfers it has.

        Raises
        ------
        ImportFileError
            A row is not one of this format, or there is none.
        """
        rows = sum(1 for _row in self.rows())
        if not rows:
            raise ImportFileError(f"{self.path} has a header and no rows.")
        return rows


class RejectsFile:
    """Takes the rows that moved no money, as they came, with the reason behind them."""

    def __init__(self, file: IO[str], columns: Sequence[str]) -> None:
        # A rejects file that is imported again already has a reason: the new one replaces it.
        own = [column for column in columns if column not in REJECT_COLUMNS]
        self._writer = csv.DictWriter(file, [*own, *REJECT_COLUMNS], extrasaction="ignore")
        self._writer.writeheader()

    def add(self, row: TransferRow, *, code: str, detail: str) -> None:
        """Write a row with its reason."""
        self._writer.writerow({**row.fields, "code": code, "detail": detail})


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise ImportFileError(f"{path} cannot be read: {error.strerror}.") from error
    with file:
        yield file
