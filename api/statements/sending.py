"""A statement as the answer to a request."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import Final, TypeAlias

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from api.statements.desk import ClientGone, MadeStatement
from domain.limits import (
    STATEMENT_SENDING_BYTES_PER_SECOND_MINIMUM,
    STATEMENT_SENDING_SECONDS_MINIMUM,
)
from domain.statements import StatementFormat, StatementSummary

CHUNK_BYTES: Final = 64 * 1024

MEDIA_TYPES: Final[Mapping[StatementFormat, str]] = MappingProxyType(
    {
        StatementFormat.JSON: "application/json",
        StatementFormat.CSV: "text/csv",
        StatementFormat.PDF: "application/pdf",
    }
)
CSV_PARAMETERS: Final = "; charset=utf-8; header=present"

Make: TypeAlias = Callable[
    [Callable[[], Awaitable[bool]]], AbstractAsyncContextManager[MadeStatement]
]
"""Makes a statement, asking now and then whether nobody waits any more."""


class StatementResponse(Response):
    """Makes a statement and sends it; connection, process and file are let go however that ends.

    Parameters
    ----------
    make
        What it raises becomes a problem document, since nothing has been sent by then.

    Notes
    -----
    A client gets ``STATEMENT_SENDING_SECONDS_MINIMUM``, and more for a large statement; one that
    reads so slowly that this is not enough is cut off.
    """

    def __init__(self, statement_format: StatementFormat, make: Make) -> None:
        super().__init__()
        self._format = statement_format
        self._make = make

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        is_gone = Request(scope, receive).is_disconnected
        try:
            async with self._make(is_gone) as made, asyncio.timeout(_seconds_for(made.size_bytes)):
                await self._send(made, is_gone, send)
        except ClientGone:
            structlog.get_logger("api").info("statement_given_up")
        except TimeoutError:
            # The server closes a connection whose answer is not whole.
            structlog.get_logger("api").warning("statement_not_received")

    async def _send(
        self, made: MadeStatement, is_gone: Callable[[], Awaitable[bool]], send: Send
    ) -> None:
        self.init_headers(_headers(self._format, made))
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        left_bytes = made.size_bytes
        while left_bytes:
            chunk = await asyncio.to_thread(made.file.read, CHUNK_BYTES)
            left_bytes -= len(chunk)
            message: Message = {
                "type": "http.response.body",
                "body": chunk,
                "more_body": left_bytes > 0,
            }
            await send(message)
            if left_bytes and await is_gone():
                raise ClientGone


def file_name(statement_format: StatementFormat, summary: StatementSummary) -> str:
    """Name a statement's file: ``statement-1234567890123456-2026-01-01-2026-02-01.pdf``."""
    number = summary.account.account_number
    period = f"{summary.from_at:%Y-%m-%d}-{summary.to_at:%Y-%m-%d}"
    return f"statement-{number}-{period}.{statement_format}"


def _headers(statement_format: StatementFormat, made: MadeStatement) -> dict[str, str]:
    parameters = CSV_PARAMETERS if statement_format is StatementFormat.CSV else ""
    kind = "inline" if statement_format is StatementFormat.JSON else "attachment"
    return {
        "Content-Type": MEDIA_TYPES[statement_format] + parameters,
        "Content-Length": str(made.size_bytes),
        "Content-Disposition": f'{kind}; filename="{file_name(statement_format, made.summary)}"',
        "Cache-Control": "private, no-store",
        "Vary": "Accept",
    }


def _seconds_for(size_bytes: int) -> float:
    return (
        STATEMENT_SENDING_SECONDS_MINIMUM + size_bytes / STATEMENT_SENDING_BYTES_PER_SECOND_MINIMUM
    )
