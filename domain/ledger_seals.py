"""Seals over the ledger: what they hold, and how their hashes are made.

The bytes are a published format (``docs/tamper-evidence.md``): a change is a new format.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final
from uuid import UUID

SEAL_FORMAT: Final = "durable-transfers/seal/1"
HASH_BYTES: Final = 32
GENESIS_HASH: Final = bytes(HASH_BYTES)
"""What the first seal has for the hash of the one before it."""

ID_BYTES: Final = 16
RECORD_BYTES: Final = ID_BYTES + 2 * HASH_BYTES

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class SealRecord:
    """What a seal keeps of one entry.

    Parameters
    ----------
    entry_digest
        SHA-256 over every field of the entry.
    transfer_digest
        SHA-256 over what never changes of its transfer.
    """

    entry_id: UUID
    entry_digest: bytes
    transfer_digest: bytes


@dataclass(frozen=True, slots=True)
class SealSegment:
    """Consecutive entries of one account that were sealed together.

    Parameters
    ----------
    records
        ``RECORD_BYTES`` for each entry, in the order of their sequence.
    digest
        As it was stored; ``segment_digest`` tells what it must be.
    """

    seal_number: int
    account_id: UUID
    first_sequence: int
    last_sequence: int
    records: bytes
    digest: bytes

    @property
    def entries(self) -> int:
        """How many entries it says that it covers."""
        return self.last_sequence - self.first_sequence + 1

    def unpacked(self) -> Iterator[SealRecord]:
        """Go through the records; a rest that is no whole record is left out."""
        for start in range(0, len(self.records) - RECORD_BYTES + 1, RECORD_BYTES):
            record = self.records[start : start + RECORD_BYTES]
            yield SealRecord(
                UUID(bytes=record[:ID_BYTES]),
                record[ID_BYTES : ID_BYTES + HASH_BYTES],
                record[ID_BYTES + HASH_BYTES :],
            )


@dataclass(frozen=True, slots=True)
class SealContent:
    """What a seal's hash covers.

    Parameters
    ----------
    number
        From 1, without a gap.
    root
        SHA-256 over the digests of its segments, in the order of their accounts' ids.
    position
        Entries that this seal and all before it cover.
    """

    number: int
    previous_hash: bytes
    root: bytes
    segments: int
    entries: int
    position: int
    sealed_at: datetime

    def hash(self) -> bytes:
        """Give the seal's hash, to which the next one is chained."""
        return _digest(
            [
                SEAL_FORMAT,
                str(self.number),
                self.previous_hash.hex(),
                self.root.hex(),
                str(self.segments),
                str(self.entries),
                str(self.position),
                str(microseconds(self.sealed_at)),
            ]
        )


@dataclass(frozen=True, slots=True)
class Seal:
    """A seal as it is stored.

    Parameters
    ----------
    hash
        As it was stored; ``content.hash()`` tells what it must be.
    """

    content: SealContent
    hash: bytes


def segment_digest(
    account_id: UUID, first_sequence: int, last_sequence: int, records: bytes
) -> bytes:
    """Give the digest of a segment."""
    return sha256(
        account_id.bytes
        + first_sequence.to_bytes(8, "big", signed=True)
        + last_sequence.to_bytes(8, "big", signed=True)
        + records
    ).digest()


def root_of(digests: Iterable[bytes]) -> bytes:
    """Give the root over the digests of segments, which are in the order of their accounts' ids."""
    return sha256(b"".join(digests)).digest()


def text_digest(text: str) -> bytes:
    """Give the digest of a document as the database writes it."""
    return sha256(text.encode()).digest()


def microseconds(moment: datetime) -> int:
    """Give a time as whole microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def _digest(fields: Sequence[str]) -> bytes:
    return text_digest(json.dumps(fields, ensure_ascii=False))
