"""Where evidence documents are made: from the database, from Temporal, and as a PDF."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from api.evidence.views import EvidenceView
from api.statements.pdf_process import ERROR_BYTES_SHOWN, PdfFailed
from domain.errors import Overloaded, TemporalUnavailable
from domain.evidence import TemporalEvidence
from domain.ids import TenantId, TransferId
from domain.limits import EVIDENCE_PDF_SECONDS_MAXIMUM, EVIDENCE_PDFS_AT_ONCE
from services.evidence import EvidenceService
from workflows.history import HistoryReader

PROGRAM: Final = "api.evidence.pdf_program"
UNAVAILABLE: Final = "UNAVAILABLE"
"""Stands for the workflow's status where Temporal does not answer."""


class EvidenceDesk:
    """Makes evidence documents."""

    def __init__(self, service: EvidenceService, history: HistoryReader) -> None:
        self._service = service
        self._history = history
        self._made = 0

    async def gather(
        self, transfer_id: TransferId, *, tenant_id: TenantId | None, for_operators: bool = False
    ) -> EvidenceView:
        """Put together all that is on record of a transfer.

        Parameters
        ----------
        tenant_id
            Whose it must be; ``None`` for any tenant's.
        for_operators
            With what the seals tell of the ledger as a whole.

        Raises
        ------
        TransferNotFound
            There is no such transfer on record.
        DatabaseUnavailable
            No connection.

        Notes
        -----
        What the database has is of one moment. Temporal adds its history, where it has one:
        evidence does not wait for it.
        """
        evidence = await self._service.gather(transfer_id, tenant_id=tenant_id)
        transfer = evidence.transfer
        try:
            workflow = await self._history.read(transfer)
        except TemporalUnavailable:
            workflow = TemporalEvidence(
                transfer.workflow_id, None, UNAVAILABLE, (), (), is_complete=False
            )
        return EvidenceView.of(evidence, workflow, datetime.now(UTC), for_operators=for_operators)

    async def pdf(self, view: EvidenceView) -> bytes:
        """Set an evidence document as pages.

        Raises
        ------
        Overloaded
            ``EVIDENCE_PDFS_AT_ONCE`` are being made.
        PdfFailed
            There is none.

        Notes
        -----
        In a process of its own, for the reason of ``api.statements.pdf_process``.
        """
        if self._made >= EVIDENCE_PDFS_AT_ONCE:
            raise Overloaded
        self._made += 1
        try:
            return await _made_by_program(view.model_dump_json().encode())
        finally:
            self._made -= 1


async def _made_by_program(document: bytes) -> bytes:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", PROGRAM, stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    try:
        async with asyncio.timeout(EVIDENCE_PDF_SECONDS_MAXIMUM):
            made, said = await process.communicate(document)
    except TimeoutError as error:
        raise PdfFailed("It took too long.") from error
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        raise PdfFailed(said.decode(errors="replace")[-ERROR_BYTES_SHOWN:])
    return made
