"""The proof that a transfer's entries are sealed, with what a reader needs to make it again.

The bytes are those of ``docs/tamper-evidence.md``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from domain.ids import AccountId, EntryId
from domain.ledger_seals import (
    GENESIS_HASH,
    RECORD_BYTES,
    Seal,
    SealRecord,
    SealSegment,
    root_of,
    segment_digest,
    text_digest,
)

_PASSED_OVER: Final = (
    "No seal covers it, and one covers a later entry of the account: its record is missing."
)


class ProofResult(StrEnum):
    """What the service found when it made a proof."""

    PROVED = "proved"
    """Every digest was made again, and is the one that was sealed."""
    DIFFERS = "differs"
    UNSEALED = "unsealed"
    """No seal covers it yet."""
    UNCHECKED = "unchecked"
    """There are more entries than one document has proofs of."""


@dataclass(frozen=True, slots=True)
class CoveredEntry:
    """An entry as it stands, and where it is sealed; ``None`` where it is not.

    Parameters
    ----------
    text, transfer_text
        The documents that the digests are made of.
    is_passed_over
        No seal covers it, and one covers a later entry of the account: sealing leaves none out.
    """

    id: EntryId
    account_id: AccountId
    sequence: int
    text: str
    transfer_text: str
    seal_number: int | None
    first_sequence: int | None
    is_passed_over: bool


@dataclass(frozen=True, slots=True)
class SealLink:
    """A seal between its neighbours, as they are stored.

    Parameters
    ----------
    previous, following
        ``None`` where there is none.
    segment_digests
        Of all its segments, in the order of their accounts' ids.
    entries
        How many these say that they cover.
    """

    seal: Seal
    previous: Seal | None
    following: Seal | None
    segment_digests: Sequence[bytes]
    entries: int

    def faults(self) -> Iterator[str]:
        """Tell what of the seal is not as it was made."""
        content, seal, previous = self.seal.content, self.seal, self.previous
        if content.hash() != seal.hash:
            yield f"Seal {content.number} was altered: its hash is not that of its fields."
        if root_of(self.segment_digests) != content.root or (
            len(self.segment_digests),
            self.entries,
        ) != (content.segments, content.entries):
            yield f"Seal {content.number} does not hold the segments that it was made over."
        if content.previous_hash != (previous.hash if previous else GENESIS_HASH):
            yield f"Seal {content.number} was made over another seal than the one before it."
        if content.position != content.entries + (previous.content.position if previous else 0):
            yield f"Seal {content.number} counts other entries than it and those before it have."
        if self.following is not None and self.following.content.previous_hash != seal.hash:
            yield f"Seal {content.number} was replaced: the next one was made over another."


@dataclass(frozen=True, slots=True)
class EntryProof:
    """What was found of one entry."""

    entry: CoveredEntry
    result: ProofResult
    finding: str | None = None


@dataclass(frozen=True, slots=True)
class ChainProof:
    """The proof of a transfer's entries, with what it was made of.

    Parameters
    ----------
    segments, seals
        Those that cover the entries, by account and sequence, and by number.
    """

    entries: Sequence[EntryProof]
    segments: Sequence[SealSegment]
    seals: Sequence[SealLink]

    @property
    def result(self) -> ProofResult:
        """The worst that was found of an entry; proved where there is none."""
        found = {proof.result for proof in self.entries}
        for result in (ProofResult.DIFFERS, ProofResult.UNCHECKED, ProofResult.UNSEALED):
            if result in found:
                return result
        return ProofResult.PROVED


def prove_entries(
    entries: Sequence[CoveredEntry], segments: Sequence[SealSegment], seals: Sequence[SealLink]
) -> ChainProof:
    """Make every digest again, from the entries up to their seals.

    Parameters
    ----------
    segments, seals
        All that the entries name and that there are.
    """
    places = {(each.account_id, each.first_sequence): each for each in segments}
    links = {each.seal.content.number: each for each in seals}
    found = []
    for entry in entries:
        if entry.is_passed_over:
            found.append(EntryProof(entry, ProofResult.DIFFERS, _PASSED_OVER))
            continue
        if entry.seal_number is None or entry.first_sequence is None:
            found.append(EntryProof(entry, ProofResult.UNSEALED))
            continue
        segment = places.get((entry.account_id, entry.first_sequence))
        faults = list(_faults(entry, segment, links.get(entry.seal_number)))
        result = ProofResult.DIFFERS if faults else ProofResult.PROVED
        found.append(EntryProof(entry, result, " ".join(faults) or None))
    return ChainProof(found, segments, seals)


def _faults(
    entry: CoveredEntry, segment: SealSegment | None, link: SealLink | None
) -> Iterator[str]:
    if segment is None or link is None:
        yield f"Seal {entry.seal_number}, or its record of the account, is missing."
        return
    made = segment_digest(
        segment.account_id, segment.first_sequence, segment.last_sequence, segment.records
    )
    if made != segment.digest or segment.digest not in link.segment_digests:
        yield f"The record of the account in seal {entry.seal_number} was altered."
    yield from _faults_of_entry(entry, record_at(segment, entry.sequence))
    yield from link.faults()


def _faults_of_entry(entry: CoveredEntry, record: SealRecord | None) -> Iterator[str]:
    if record is None or record.entry_id != entry.id:
        sealed: UUID | str = record.entry_id if record else "none"
        yield f"Another entry was sealed at its place: {sealed}."
        return
    if text_digest(entry.text) != record.entry_digest:
        yield "The entry was altered."
    if text_digest(entry.transfer_text) != record.transfer_digest:
        yield "The transfer was altered."


def record_at(segment: SealSegment, sequence: int) -> SealRecord | None:
    """Give what a segment keeps of the entry with a sequence."""
    start = (sequence - segment.first_sequence) * RECORD_BYTES
    if start < 0:
        return None
    one = segment.records[start : start + RECORD_BYTES]
    alone = SealSegment(
        segment.seal_number, segment.account_id, sequence, sequence, one, segment.digest
    )
    return next(alone.unpacked(), None)
