"""The result of a batch as a download: a line a row."""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final

from api.batch_schemas import BatchRowView
from domain.batches import BatchRow, ResultFormat

COLUMNS: Final = (
    "position",
    "idempotency_key",
    "status",
    "code",
    "message",
    "transfer_id",
    "type",
    "source",
    "destination",
    "amount",
    "currency",
)


async def result_pieces(
    pages: AsyncIterator[Sequence[BatchRow]], form: ResultFormat
) -> AsyncIterator[str]:
    """Write pages of rows, one piece each."""
    if form is ResultFormat.CSV:
        yield _csv([COLUMNS])
    async for rows in pages:
        views = [BatchRowView.of(row) for row in rows]
        if form is ResultFormat.NDJSON:
            yield "".join(f"{view.model_dump_json()}\n" for view in views)
        else:
            yield _csv([getattr(view, name) for name in COLUMNS] for view in views)


def _csv(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
