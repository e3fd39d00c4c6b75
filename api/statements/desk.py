"""Where statements are made: into a temporary file each, and only so many at once."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import IO, Final

from prometheus_client import Counter

from api.statements.pdf_process import pdf_process
from api.statements.texts import StatementCsv, StatementJson, StatementText
from domain.accounts import AccountReference
from domain.errors import Overloaded, StatementTooLong
from domain.ids import TenantId
from domain.limits import (
    STATEMENT_PREPARING_SECONDS_MAXIMUM,
    STATEMENTS_OPEN_MAXIMUM,
    STATEMENTS_PREPARED_AT_ONCE,
)
from domain.statements import StatementFormat, StatementLine, StatementPeriod, StatementSummary
from services.statements import Statement, StatementService

_MADE: Final = Counter("transfers_statements_total", "Statements made.", ["format"])
_SHED: Final = Counter(
    "transfers_statements_shed_total", "Statements refused for too many at once."
)

_TEXTS: Final[MappingProxyType[StatementFormat, Callable[[StatementSummary], StatementText]]] = (
    MappingProxyType({StatementFormat.JSON: StatementJson, StatementFormat.CSV: StatementCsv})
)


class ClientGone(Exception):
    """Nobody waits for the statement any more."""


@dataclass(frozen=True, slots=True)
class MadeStatement:
    """A finished statement.

    Parameters
    ----------
    file
        Where it stands, to be read from its beginning; without a name, and gone when closed.
    """

    summary: StatementSummary
    file: IO[bytes]
    size_bytes: int


class StatementDesk:
    """Makes statements.

    Parameters
    ----------
    prepared_maximum
        Statements that are made at once, each with a connection to the database.
    open_maximum
        Statements that are made or sent at once, each with a temporary file.

    Notes
    -----
    A statement is whole before its first byte is sent. So it holds its connection only as long as
    the database and the writing take, however slowly a client reads, and what goes wrong is told by
    a status and not by half a statement.
    """

    def __init__(
        self,
        service: StatementService,
        *,
        prepared_maximum: int = STATEMENTS_PREPARED_AT_ONCE,
        open_maximum: int = STATEMENTS_OPEN_MAXIMUM,
    ) -> None:
        self._service = service
        self._prepared_maximum = prepared_maximum
        self._open_maximum = open_maximum
        self._prepared = 0
        self._open = 0

    @asynccontextmanager
    async def make(
        self,
        tenant_id: TenantId,
        reference: AccountReference,
        period: StatementPeriod,
        statement_format: StatementFormat,
        is_given_up: Callable[[], Awaitable[bool]],
    ) -> AsyncIterator[MadeStatement]:
        """Make a statement, and keep it until the block ends.

        Parameters
        ----------
        is_given_up
            Asked now and then whether nobody waits any more.

        Raises
        ------
        Overloaded
            Too many are made or sent.
        AccountNotFound
            The tenant has no such account.
        StatementTooLong
            The period holds more entries than one statement can have in the format, or it took
            longer than ``STATEMENT_PREPARING_SECONDS_MAXIMUM``.
        DatabaseUnavailable
            No connection, or it was lost meanwhile.
        ClientGone
            Nobody waits any more.
        """
        if self._prepared >= self._prepared_maximum or self._open >= self._open_maximum:
            _SHED.inc()
            raise Overloaded
        self._open += 1
        try:
            # Without a name it cannot be left behind.
            with tempfile.TemporaryFile() as file:
                self._prepared += 1
                try:
                    async with (
                        asyncio.timeout(STATEMENT_PREPARING_SECONDS_MAXIMUM),
                        self._service.open(
                            tenant_id, reference, period, statement_format
                        ) as statement,
                    ):
                        await _write(statement, statement_format, file, is_given_up)
                except TimeoutError as error:
                    raise StatementTooLong(
                        f"The statement took more than {STATEMENT_PREPARING_SECONDS_MAXIMUM} s."
                    ) from error
                finally:
                    self._prepared -= 1
                _MADE.labels(statement_format).inc()
                size_bytes = file.seek(0, 2)
                file.seek(0)
                yield MadeStatement(statement.summary, file, size_bytes)
        finally:
            self._open -= 1


async def _write(
    statement: Statement,
    statement_format: StatementFormat,
    file: IO[bytes],
    is_given_up: Callable[[], Awaitable[bool]],
) -> None:
    if statement_format is StatementFormat.PDF:
        await _write_pdf(statement, file, is_given_up)
        return
    text = _TEXTS[statement_format](statement.summary)
    file.write(text.beginning().encode())
    async for lines in statement.lines:
        if await is_given_up():
            raise ClientGone
        # In a thread: some milliseconds for each, and a disk may be slow.
        await asyncio.to_thread(_write_lines, text, lines, file)
    file.write(text.end().encode())


def _write_lines(text: StatementText, lines: Sequence[StatementLine], file: IO[bytes]) -> None:
    file.write(text.lines(lines).encode())


async def _write_pdf(
    statement: Statement, file: IO[bytes], is_given_up: Callable[[], Awaitable[bool]]
) -> None:
    async with pdf_process(file) as process:
        await process.begin(statement.summary)
        async for lines in statement.lines:
            if await is_given_up():
                raise ClientGone
            await process.add(lines)
        await process.end()
