"""What the proof of the seals reads, a page at a time, all of one snapshot."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ledger_seals import Seal, SealSegment
from persistence.seals import ENTRY_TEXT, TRANSFER_TEXT, seal_from, segment_from
from persistence.tables.ledger import ledger_seals

PAGE_ENTRIES: Final = 5_000
PAGE_SEGMENTS: Final = 100
PAGE_SEALS: Final = 1_000
NOWHERE: Final = (UUID(int=0), -(2**63))
"""Before the first place in the order of accounts and sequences."""

_SEGMENTS: Final = text(
    """
SELECT * FROM ledger_seal_segments
WHERE (account_id, first_sequence) > (CAST(:account AS uuid), :sequence)
ORDER BY account_id, first_sequence
LIMIT :number
"""
)

_ENTRIES: Final = text(
    f"""
SELECT entry.id, entry.account_id, entry.sequence, entry.transfer_id, {ENTRY_TEXT} AS entry_text,
    CASE WHEN transfer.id IS NOT NULL THEN {TRANSFER_TEXT} END AS transfer_text
FROM (
    SELECT * FROM ledger_entries
    WHERE (account_id, sequence) > (CAST(:account AS uuid), :sequence)
    ORDER BY account_id, sequence
    LIMIT :number
) AS entry
LEFT JOIN transfers AS transfer ON transfer.id = entry.transfer_id
ORDER BY entry.account_id, entry.sequence
"""  # noqa: S608 - of this package
)

_DIGESTS: Final = text(
    """
SELECT seal_number, account_id, last_sequence - first_sequence + 1 AS entries, digest
FROM ledger_seal_segments
WHERE (seal_number, account_id) > (:number, CAST(:account AS uuid))
ORDER BY seal_number, account_id
LIMIT :page
"""
)

_PLACE: Final = text(
    "SELECT account_id, sequence FROM ledger_entries WHERE id = CAST(:entry AS uuid)"
)
_IS_SEALED: Final = text(
    """
SELECT EXISTS (
    SELECT FROM ledger_seal_segments
    WHERE account_id = CAST(:account AS uuid)
        AND position(uuid_send(CAST(:entry AS uuid)) IN records) > 0)
"""
)


@dataclass(frozen=True, slots=True)
class FoundEntry:
    """An entry as it stands now.

    Parameters
    ----------
    text, transfer_text
        The documents that digests are made of; there is none of a transfer that is missing.
    """

    id: UUID
    account_id: UUID
    sequence: int
    transfer_id: UUID
    text: str
    transfer_text: str | None


@dataclass(frozen=True, slots=True)
class SegmentDigest:
    """A segment without its records."""

    seal_number: int
    account_id: UUID
    entries: int
    digest: bytes


class SealProofReader:
    """Goes through seals, segments and entries in a caller's snapshot."""

    def __init__(self, snapshot: AsyncConnection) -> None:
        self._snapshot = snapshot

    async def seals(self) -> AsyncIterator[Seal]:
        """Go through the seals by number."""
        after = -(2**63)
        while True:
            found = await self._snapshot.execute(
                select(ledger_seals)
                .where(ledger_seals.c.number > after)
                .order_by(ledger_seals.c.number)
                .limit(PAGE_SEALS)
            )
            page = [seal_from(row) for row in found.mappings()]
            for seal in page:
                yield seal
            if len(page) < PAGE_SEALS:
                return
            after = page[-1].content.number

    async def digests(self) -> AsyncIterator[SegmentDigest]:
        """Go through the digests of segments by seal and account."""
        number, account = -(2**63), UUID(int=0)
        while True:
            found = await self._snapshot.execute(
                _DIGESTS, {"number": number, "account": account, "page": PAGE_ENTRIES}
            )
            page = [
                SegmentDigest(row.seal_number, row.account_id, row.entries, bytes(row.digest))
                for row in found
            ]
            for digest in page:
                yield digest
            if len(page) < PAGE_ENTRIES:
                return
            number, account = page[-1].seal_number, page[-1].account_id

    async def segments(self) -> AsyncIterator[SealSegment]:
        """Go through the segments by account and sequence."""
        account, sequence = NOWHERE
        while True:
            found = await self._snapshot.execute(
                _SEGMENTS, {"account": account, "sequence": sequence, "number": PAGE_SEGMENTS}
            )
            page = [segment_from(row) for row in found.mappings()]
            for segment in page:
                yield segment
            if len(page) < PAGE_SEGMENTS:
                return
            account, sequence = page[-1].account_id, page[-1].first_sequence

    async def entries(self) -> AsyncIterator[FoundEntry]:
        """Go through the entries by account and sequence."""
        account, sequence = NOWHERE
        while True:
            found = await self._snapshot.execute(
                _ENTRIES, {"account": account, "sequence": sequence, "number": PAGE_ENTRIES}
            )
            page = [FoundEntry(*row) for row in found]
            for entry in page:
                yield entry
            if len(page) < PAGE_ENTRIES:
                return
            account, sequence = page[-1].account_id, page[-1].sequence

    async def place_of(self, entry_id: UUID) -> tuple[UUID, int] | None:
        """Tell the account and sequence of an entry; ``None`` where there is no such entry."""
        row = (await self._snapshot.execute(_PLACE, {"entry": entry_id})).first()
        return None if row is None else (row.account_id, row.sequence)

    async def is_sealed(self, account_id: UUID, entry_id: UUID) -> bool:
        """Tell whether an entry is among those that were sealed of an account."""
        found = await self._snapshot.scalar(_IS_SEALED, {"account": account_id, "entry": entry_id})
        return bool(found)
