"""What the proof of one transfer's entries is made of, in SQL."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.chain_proofs import CoveredEntry
from domain.ids import TenantId, TransferId
from domain.ledger_seals import Seal, SealSegment
from persistence.seals import (
    ENTRY_TEXT,
    TRANSFER_OF_ENTRY,
    TRANSFER_TEXT,
    seal_from,
    segment_from,
)
from persistence.tables.ledger import ledger_seal_segments, ledger_seals

_COVERED: Final = text(
    f"""
SELECT entry.id, entry.account_id, entry.sequence, {ENTRY_TEXT} AS text,
    {TRANSFER_TEXT} AS transfer_text, segment.seal_number, segment.first_sequence,
    segment.seal_number IS NULL AND EXISTS (
        SELECT FROM ledger_seal_segments AS later
        WHERE later.account_id = entry.account_id AND later.first_sequence > entry.sequence
    ) AS is_passed_over
FROM (
    SELECT * FROM ledger_entries
    WHERE transfer_id = CAST(:transfer AS uuid) AND tenant_id = CAST(:tenant AS uuid)
    ORDER BY id LIMIT :number
) AS entry
{TRANSFER_OF_ENTRY}
LEFT JOIN LATERAL (
    SELECT seal_number, first_sequence, last_sequence FROM ledger_seal_segments AS segment
    WHERE segment.account_id = entry.account_id AND segment.first_sequence <= entry.sequence
    ORDER BY segment.first_sequence DESC LIMIT 1
) AS segment ON segment.last_sequence >= entry.sequence
ORDER BY entry.id
"""  # noqa: S608 - of this package
)
_segments: Final = ledger_seal_segments.c


@dataclass(frozen=True, slots=True)
class StoredDigests:
    """The digests of a seal's segments, in the order of their accounts, and what they cover."""

    digests: Sequence[bytes]
    entries: int


class ChainProofRepository:
    """Reads entries with their seals, in a caller's snapshot."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def covered(
        self, tenant_id: TenantId, transfer_id: TransferId, *, limit: int
    ) -> list[CoveredEntry]:
        """Read the first entries of a transfer, each with where it is sealed."""
        rows = await self._connection.execute(
            _COVERED, {"tenant": tenant_id, "transfer": transfer_id, "number": limit}
        )
        return [CoveredEntry(*row) for row in rows]

    async def segment(self, account_id: UUID, first_sequence: int) -> SealSegment | None:
        """Read the segment of an account that begins with a sequence."""
        found = await self._connection.execute(
            select(ledger_seal_segments).where(
                _segments.account_id == account_id, _segments.first_sequence == first_sequence
            )
        )
        row = found.mappings().one_or_none()
        return None if row is None else segment_from(row)

    async def seals(self, numbers: Collection[int]) -> dict[int, Seal]:
        """Read seals by their numbers; what is not there is left out."""
        found = await self._connection.execute(
            select(ledger_seals).where(ledger_seals.c.number.in_(numbers))
        )
        return {row["number"]: seal_from(row) for row in found.mappings()}

    async def digests(self, seal_number: int) -> StoredDigests:
        """Read the digests of all segments of a seal."""
        found = await self._connection.execute(
            select(
                _segments.digest,
                (_segments.last_sequence - _segments.first_sequence + 1).label("entries"),
            )
            .where(_segments.seal_number == seal_number)
            .order_by(_segments.account_id)
        )
        rows = found.all()
        return StoredDigests([bytes(row.digest) for row in rows], sum(row.entries for row in rows))
