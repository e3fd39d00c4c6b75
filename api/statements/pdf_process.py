"""Statements as PDF, made by a process of their own each."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from typing import IO, Any, Final

from api.statements.pdf_contract import PdfHead
from domain.statements import StatementLine, StatementSummary

PROGRAM: Final = "api.statements.pdf_program"
ERROR_BYTES_SHOWN: Final = 4_000


class PdfFailed(Exception):
    """The program that makes PDFs ended without one; the message is what it said."""


class PdfProcess:
    """Hands a statement to the program that makes the PDF.

    Notes
    -----
    Setting type is work for the processor: here it would keep requests waiting, and in a thread it
    would take turns with them. What is written waits where the program is behind, so that neither
    process collects lines. The program ends by itself where this process does.
    """

    def __init__(self, process: Process) -> None:
        self._process = process

    async def begin(self, summary: StatementSummary) -> None:
        """Hand over what stands around the lines."""
        await self._hand_over(json.dumps(asdict(_head(summary)), default=datetime.isoformat))

    async def add(self, lines: Sequence[StatementLine]) -> None:
        """Hand over further lines."""
        await self._hand_over("\n".join(json.dumps(_values(line)) for line in lines))

    async def end(self) -> None:
        """Wait for the PDF.

        Raises
        ------
        PdfFailed
            There is none.
        """
        await self._hand_over("null")
        _, said = await self._process.communicate()
        if self._process.returncode:
            raise PdfFailed(said.decode(errors="replace")[-ERROR_BYTES_SHOWN:])

    async def _hand_over(self, text: str) -> None:
        stream = self._process.stdin
        if stream is None:
            raise PdfFailed("The program has no input.")
        # Where it has ended, its exit code and what it said tell more.
        with suppress(BrokenPipeError, ConnectionResetError):
            stream.write(text.encode() + b"\n")
            await stream.drain()


@asynccontextmanager
async def pdf_process(file: IO[bytes]) -> AsyncIterator[PdfProcess]:
    """Start the program, which writes to a file; it is ended where the block ends before it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", PROGRAM, stdin=PIPE, stdout=file, stderr=PIPE
    )
    try:
        yield PdfProcess(process)
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _head(summary: StatementSummary) -> PdfHead:
    account, totals = summary.account, summary.totals
    return PdfHead(
        issuer=account.issuer,
        holder=account.holder,
        account_number=account.account_number,
        external_id=account.external_id,
        currency=account.currency,
        from_at=summary.from_at,
        to_at=summary.to_at,
        generated_at=summary.generated_at,
        opening_minor=summary.opening_minor,
        closing_minor=summary.closing_minor,
        debits_minor=totals.debits_minor,
        credits_minor=totals.credits_minor,
        debit_count=totals.debit_count,
        credit_count=totals.credit_count,
        largest_balance_minor=totals.largest_balance_minor,
    )


def _values(line: StatementLine) -> list[Any]:
    """Give the fields of a `PdfLine` in their order, times as text."""
    entry = line.entry
    return [
        entry.created_at.isoformat(),
        entry.effective_at.isoformat(),
        line.transfer_type.value,
        line.description,
        line.counterparty_number,
        entry.direction.signed(entry.amount_minor),
        entry.balance_after_minor,
    ]
