"""An import whose transfers go in batches: the file's order, once however often it is run."""

import asyncio
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from typing import Final

from domain.limits import BATCH_BODY_BYTES_MAXIMUM
from runtime.api_client import Answer, ApiProblem, ApiUnavailable, Document
from runtime.import_files import TransferFile, TransferRow
from runtime.importing import Importer, ImportStopped

IMPORT_BATCH_ROWS: Final = 25_000
"""Rows that are sent in one batch, and kept in memory at a time."""

IMPORT_BATCH_BYTES: Final = BATCH_BODY_BYTES_MAXIMUM // 2
POLL_SECONDS: Final = 0.25
GENERATIONS_MAXIMUM: Final = 1_000
"""Times that the same rows are sent anew because they were refused before."""

NDJSON: Final = "application/x-ndjson"
_PLACE: Final = re.compile(r"transfers\.(\d+)(?:\.|$)")


class BatchImporter(Importer):
    """Carries out an import with batches.

    Notes
    -----
    A batch's key comes from its rows, so that the same file is the same batches. Rows that an
    earlier run saw refused without a record are sent again, as single requests would be.
    """

    async def make_transfers(self, transfers: TransferFile) -> None:
        """Make the transfers of a file, some thousands a request, one request after the other."""
        for rows in _slices(transfers):
            try:
                await self._make(rows)
            except (ApiProblem, ApiUnavailable) as error:
                raise ImportStopped(str(error)) from error

    async def _make(self, rows: list[TransferRow]) -> None:
        generation = 0
        while rows and generation < GENERATIONS_MAXIMUM:
            rows, answer = await self._send(rows, generation)
            if answer is None:
                return
            batch = await self._finish(answer)
            generation += 1
            if not answer.is_replay and batch["stage"] == "CANCELLED":
                raise ImportStopped(f"batch {batch['id']} was cancelled")
            refused = await self._refused(batch, rows)
            # What an earlier run left undone is sent again, with another key.
            again = {"REJECTED", "CANCELLED"} if answer.is_replay else set[str]()
            for status, row, reason in refused:
                if status not in again:
                    self._put_aside(row, reason)
            self._count_moved(batch["counts"], is_replay=answer.is_replay)
            rows = [row for status, row, _reason in refused if status in again]

    async def _send(
        self, rows: list[TransferRow], generation: int
    ) -> tuple[list[TransferRow], Answer | None]:
        """Send rows; those that are not well formed are put aside and counted."""
        while rows:
            content = b"".join(_line(row) for row in rows)
            digest = hashlib.sha256(content).hexdigest()
            try:
                answer = await self.api.batch(
                    content, media_type=NDJSON, key=f"import-{digest}-{generation}"
                )
            except ApiProblem as problem:
                wrong = _wrong_rows(problem)
                if not wrong:
                    raise
                for position, message in wrong.items():
                    self._put_aside(
                        rows[position - 1], Document(code=problem.code, message=message)
                    )
                rows = [row for n, row in enumerate(rows, start=1) if n not in wrong]
            else:
                return rows, answer
        return rows, None

    async def _finish(self, answer: Answer) -> Document:
        """Wait until every row has its outcome; the watcher is told of those that moved now."""
        batch, shown = answer.document, 0
        while batch["state"] == "PROCESSING":
            await asyncio.sleep(POLL_SECONDS)
            batch = (await self.api.get(f"/v1/transfer-batches/{batch['id']}")).document
            done = batch["counts"]["succeeded"]
            self.watcher.advanced(done - shown)
            shown = done
        self.watcher.advanced(batch["counts"]["succeeded"] - shown)
        return batch

    async def _refused(
        self, batch: Document, rows: Sequence[TransferRow]
    ) -> list[tuple[str, TransferRow, Document]]:
        """Give the rows that moved no money, with status and reason."""
        counts = batch["counts"]
        if not (counts["failed"] or counts["rejected"] or counts["cancelled"]):
            return []
        found = await self.api.read_all(
            f"/v1/transfer-batches/{batch['id']}/rows", status=("FAILED", "REJECTED", "CANCELLED")
        )
        return [(row["status"], rows[row["position"] - 1], row) for row in found]

    def _count_moved(self, counts: Document, *, is_replay: bool) -> None:
        replayed = counts["succeeded"] if is_replay else counts["replayed"]
        self.report.replayed += replayed
        self.report.succeeded += counts["succeeded"] - replayed

    def _put_aside(self, row: TransferRow, reason: Document) -> None:
        self.report.failed[reason["code"]] += 1
        if self.rejects is not None:
            self.rejects.add(row, code=reason["code"], detail=reason["message"])
        self.watcher.advanced()


def _slices(transfers: TransferFile) -> Iterator[list[TransferRow]]:
    """Cut a file into batches; a key that comes again begins a new one."""
    rows: list[TransferRow] = []
    keys: set[str] = set()
    size = 0
    for row in transfers.transfers():
        if rows and (
            len(rows) == IMPORT_BATCH_ROWS or row.key in keys or size > IMPORT_BATCH_BYTES
        ):
            yield rows
            rows, keys, size = [], set(), 0
        rows.append(row)
        keys.add(row.key)
        size += len(_line(row))
    if rows:
        yield rows


def _line(row: TransferRow) -> bytes:
    return json.dumps({"idempotency_key": row.key, **row.body()}).encode() + b"\n"


def _wrong_rows(problem: ApiProblem) -> dict[int, str]:
    """Name the rows that a refused batch has to do without, by position."""
    wrong: dict[int, str] = {}
    for field, message in problem.field_messages:
        place = _PLACE.match(field)
        if place is not None and place[1] != "0":
            name = field[place.end() :]
            wrong.setdefault(int(place[1]), f"{name}: {message}" if name else message)
    return wrong
