"""The proof of the seals: that the ledger is what was sealed, and that no seal was changed.

Digests are made here again, outside of the database, of what it says that its rows are.
"""

import heapq
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Final, Generic, TypeVar
from uuid import UUID

from domain.ledger_seals import (
    GENESIS_HASH,
    Seal,
    SealRecord,
    SealSegment,
    segment_digest,
    text_digest,
)
from domain.limits import PROOF_VIOLATIONS_MAXIMUM
from persistence.seal_proof import FoundEntry, SealProofReader, SegmentDigest
from persistence.verification import Violation

Item = TypeVar("Item")

_WHOLE_SEAL: Final = (UUID(int=0), -1)
"""In the order of findings, a seal itself comes before what it covers."""


@dataclass(frozen=True, slots=True)
class KnownSeal:
    """What somebody outside of the database knows of a seal, from a checkpoint."""

    number: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class SealProof:
    """What the proof of the seals found.

    Parameters
    ----------
    unsealed_entries
        Entries that no seal covers yet: what was done to them is not shown by this proof.
    violations
        In the order of the seals.
    violations_left_out
        How many are not named, where there are very many.
    """

    seals: int
    sealed_entries: int
    unsealed_entries: int
    newest_seal: int | None
    newest_hash: str | None
    sealed_at: datetime | None
    violations: tuple[Violation, ...]
    violations_left_out: int


@dataclass(order=True, frozen=True, slots=True)
class _Finding:
    seal_number: int
    account_id: UUID
    sequence: int
    violation: Violation = field(compare=False)


class _Findings:
    """The first findings, in the order of the chain."""

    def __init__(self) -> None:
        self._found: list[_Finding] = []
        self._count = 0

    def add(self, place: tuple[int, UUID, int], subject: str, message: str) -> None:
        self._count += 1
        self._found.append(_Finding(*place, Violation(subject, message)))
        if len(self._found) > 2 * PROOF_VIOLATIONS_MAXIMUM:
            self._found = heapq.nsmallest(PROOF_VIOLATIONS_MAXIMUM, self._found)

    def add_to_seal(self, number: int, message: str) -> None:
        self.add((number, *_WHOLE_SEAL), f"seal {number}", message)

    @property
    def violations(self) -> tuple[Violation, ...]:
        first = heapq.nsmallest(PROOF_VIOLATIONS_MAXIMUM, self._found)
        return tuple(finding.violation for finding in first)

    @property
    def left_out(self) -> int:
        return max(0, self._count - PROOF_VIOLATIONS_MAXIMUM)


class _Ahead(Generic[Item]):
    """An iterator whose next item can be looked at."""

    def __init__(self, items: AsyncIterator[Item]) -> None:
        self._items = items
        self._next: Item | None = None
        self._has_looked = False

    async def look(self) -> Item | None:
        if not self._has_looked:
            self._next = await anext(self._items, None)
            self._has_looked = True
        return self._next

    async def take(self) -> None:
        await self.look()
        self._has_looked = False


@dataclass(slots=True)
class _Account:
    """What is known of an account while its entries pass.

    Parameters
    ----------
    covered
        Its last sealed sequence so far.
    first
        The first of its entries that differs, and how.
    """

    id: UUID
    covered: int = 0
    first: tuple[tuple[int, UUID, int], str, str] | None = None
    differing: int = 0
    is_shifted: bool = False


class SealProver:
    """Proves the seals once, in a snapshot; in bounded memory, however long the ledger is.

    Parameters
    ----------
    known
        Seals that must be there as they are known.
    """

    def __init__(self, reader: SealProofReader, known: Sequence[KnownSeal] = ()) -> None:
        self._reader = reader
        self._known: dict[int, set[bytes]] = {}
        for seal in known:
            self._known.setdefault(seal.number, set()).add(seal.hash)
        self._findings = _Findings()
        self._seals = self._sealed = self._unsealed = 0
        self._newest: Seal | None = None

    async def prove(self) -> SealProof:
        """Prove that the chain is whole, and that the ledger is what it covers."""
        await self._prove_chain()
        await self._prove_entries()
        newest = self._newest
        return SealProof(
            seals=self._seals,
            sealed_entries=self._sealed,
            unsealed_entries=self._unsealed,
            newest_seal=newest.content.number if newest else None,
            newest_hash=newest.hash.hex() if newest else None,
            sealed_at=newest.content.sealed_at if newest else None,
            violations=self._findings.violations,
            violations_left_out=self._findings.left_out,
        )

    async def _prove_chain(self) -> None:
        digests = _Ahead(self._reader.digests())
        async for seal in self._reader.seals():
            await self._prove_seal(seal, digests)
            self._newest = seal
            self._seals += 1
        while (orphan := await digests.look()) is not None:
            self._findings.add_to_seal(orphan.seal_number, "is missing, and its segments are there")
            await self._skip(digests, orphan.seal_number)
        last = self._newest.content.number if self._newest else 0
        for number in sorted(number for number in self._known if number > last):
            self._findings.add_to_seal(
                number, f"is missing: the chain ends with seal {last}, a checkpoint knows this one"
            )

    async def _prove_seal(self, seal: Seal, digests: _Ahead[SegmentDigest]) -> None:
        content, previous = seal.content, self._newest
        number = content.number
        expected = previous.content.number + 1 if previous else 1
        position = previous.content.position if previous else 0
        while (orphan := await digests.look()) is not None and orphan.seal_number < number:
            await self._skip(digests, orphan.seal_number)
        made = sha256()
        segments = entries = 0
        while (digest := await digests.look()) is not None and digest.seal_number == number:
            made.update(digest.digest)
            segments, entries = segments + 1, entries + digest.entries
            await digests.take()
        if number != expected:
            self._findings.add_to_seal(expected, f"is missing: seal {number} is the next one")
        elif content.hash() != seal.hash:
            self._findings.add_to_seal(number, "was altered: its hash is not that of its fields")
        elif content.previous_hash != (previous.hash if previous else GENESIS_HASH):
            self._findings.add_to_seal(
                expected - 1 if previous else number,
                f"was replaced: seal {number} was made over another one",
            )
        elif content.position != position + content.entries:
            self._findings.add_to_seal(number, "counts other entries than it and those before have")
        if (made.digest(), segments, entries) != (content.root, content.segments, content.entries):
            self._findings.add_to_seal(number, "does not hold the segments that it was made over")
        if self._known.get(number, {seal.hash}) != {seal.hash}:
            self._findings.add_to_seal(
                number, "has another hash than a checkpoint knows: the chain was written anew"
            )

    @staticmethod
    async def _skip(digests: _Ahead[SegmentDigest], number: int) -> None:
        while (digest := await digests.look()) is not None and digest.seal_number == number:
            await digests.take()

    async def _prove_entries(self) -> None:
        segments, entries = _Ahead(self._reader.segments()), _Ahead(self._reader.entries())
        while True:
            segment, entry = await segments.look(), await entries.look()
            ids = [found.account_id for found in (segment, entry) if found is not None]
            if not ids:
                return
            await self._prove_account(_Account(min(ids)), segments, entries)

    async def _prove_account(
        self, account: _Account, segments: _Ahead[SealSegment], entries: _Ahead[FoundEntry]
    ) -> None:
        while (segment := await segments.look()) is not None and segment.account_id == account.id:
            await segments.take()
            await self._prove_segment(account, segment, entries)
        while (entry := await entries.look()) is not None and entry.account_id == account.id:
            await entries.take()
            self._unsealed += entry.sequence > account.covered
        if account.first is not None:
            place, subject, message = account.first
            if account.differing > 1:
                message += f"; {account.differing - 1} later entries of the account differ too"
            self._findings.add(place, subject, message)

    async def _prove_segment(
        self, account: _Account, segment: SealSegment, entries: _Ahead[FoundEntry]
    ) -> None:
        first, last, number = segment.first_sequence, segment.last_sequence, segment.seal_number
        made = segment_digest(account.id, first, last, segment.records)
        if made != segment.digest or len(list(segment.unpacked())) != segment.entries:
            self._findings.add_to_seal(
                number, f"its record of account {account.id}, sequences {first} to {last}, differs"
            )
        if first != account.covered + 1:
            self._findings.add_to_seal(
                number,
                f"follows sequence {account.covered} of account {account.id} with {first}: "
                "a seal's record between them is missing or was altered",
            )
        for sequence, record in enumerate(segment.unpacked(), start=first):
            found = await self._take_at(account, sequence, number, entries)
            await self._judge(account, (number, account.id, sequence), record, found)
        self._sealed += segment.entries
        account.covered = last

    async def _take_at(
        self, account: _Account, sequence: int, number: int, entries: _Ahead[FoundEntry]
    ) -> FoundEntry | None:
        """Give the entry with a sequence; name those before it that no seal has room for."""
        while (entry := await entries.look()) is not None and entry.account_id == account.id:
            if entry.sequence > sequence:
                return None
            await entries.take()
            if entry.sequence == sequence:
                return entry
            place = (number, account.id, entry.sequence)
            self._differ(account, place, f"entry {entry.id}", f"{_at(place)}: was inserted")
        return None

    async def _judge(
        self,
        account: _Account,
        place: tuple[int, UUID, int],
        record: SealRecord,
        found: FoundEntry | None,
    ) -> None:
        sealed = f"entry {record.entry_id}"
        if found is None or found.id != record.entry_id:
            if account.is_shifted:
                account.differing += 1
                return
            account.is_shifted = True
            self._differ(account, place, *await self._displacement(place, record, found))
            return
        if text_digest(found.text) != record.entry_digest:
            self._differ(account, place, sealed, f"{_at(place)}: was altered")
        transfer = found.transfer_text
        if transfer is None or text_digest(transfer) != record.transfer_digest:
            state = "is missing" if transfer is None else "was altered"
            if text_digest(found.text) == record.entry_digest:
                self._findings.add(
                    place, f"transfer {found.transfer_id}", f"{state}; {sealed}, {_at(place)}"
                )

    async def _displacement(
        self, place: tuple[int, UUID, int], record: SealRecord, found: FoundEntry | None
    ) -> tuple[str, str]:
        """Say why another entry stands where an entry was sealed, or none."""
        sealed = f"entry {record.entry_id}"
        now = await self._reader.place_of(record.entry_id)
        if now is None:
            instead = f"; entry {found.id} stands there" if found else ""
            return sealed, f"{_at(place)}: is missing{instead}"
        if found is not None and not await self._reader.is_sealed(place[1], found.id):
            return f"entry {found.id}", f"{_at(place)}: was inserted where {sealed} was sealed"
        return sealed, f"{_at(place)}: was altered; it is at sequence {now[1]} of account {now[0]}"

    def _differ(
        self, account: _Account, place: tuple[int, UUID, int], subject: str, message: str
    ) -> None:
        account.differing += 1
        if account.first is None:
            account.first = (place, subject, message)


def _at(place: tuple[int, UUID, int]) -> str:
    number, account_id, sequence = place
    return f"sequence {sequence} of account {account_id}, in seal {number}"
