"""The rows of a batch as they are staged, in the text format of COPY."""

import json
from collections.abc import Mapping
from typing import Any, Final

from domain.batches import StagedRow
from persistence.copy_text import NULL, copied

_NO_METADATA: Final = "{}"


def staged_row(row: StagedRow) -> str:
    """Write what a row asks for, without the batch that it belongs to.

    Notes
    -----
    The same request is the same text, so that a batch can be told by its rows.
    """
    fields = (
        str(row.position),
        copied(row.idempotency_key),
        row.type,
        copied(row.source),
        copied(row.destination),
        str(row.amount_minor),
        row.currency,
        copied(row.description),
        _metadata(row.metadata),
        NULL if row.effective_at is None else row.effective_at.isoformat(),
    )
    return "\t".join(fields) + "\n"


def _metadata(metadata: Mapping[str, Any] | None) -> str:
    """Write metadata, its keys in order: the same metadata is the same text."""
    return copied(json.dumps(metadata, sort_keys=True)) if metadata else _NO_METADATA
