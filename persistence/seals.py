"""Rows of ``ledger_seals`` and ``ledger_seal_segments``, and what of the ledger they cover.

Entries commit in another order than that of their ids or times. What has an order without a gap is
the sequence of an account: it is counted under the balance's lock, so that whatever is committed
of an account is always a beginning of it. Sealing goes on, for each account, behind its last
sealed sequence, and can neither pass over an entry nor meet one that is still to be committed.

The database makes the digests while it seals; ``services.seal_verification`` makes them again
outside of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ledger_seals import Seal, SealContent, SealSegment
from persistence import array_text
from persistence.tables.ledger import ledger_seals

SEALING_LOCK: Final = 0x5EA1
"""Key of the advisory lock that whoever seals holds. Nobody else asks for it."""


def _microseconds(column: str) -> str:
    return f"(extract(epoch FROM {column}) * 1000000)::bigint::text"


# Every field of an entry, and everything of a transfer that never changes once it is recorded.
ENTRY_TEXT: Final = f"""json_build_array('entry', entry.id::text, entry.tenant_id::text,
    entry.transfer_id::text, entry.account_id::text, entry.sequence::text, entry.direction,
    entry.amount_minor::text, entry.currency, entry.balance_after_minor::text,
    {_microseconds("entry.effective_at")}, {_microseconds("entry.created_at")})::text"""
TRANSFER_TEXT: Final = f"""json_build_array('transfer', transfer.id::text, transfer.tenant_id::text,
    transfer.idempotency_key, encode(transfer.fingerprint, 'hex'), transfer.type,
    transfer.source_account_id::text, transfer.destination_account_id::text,
    transfer.amount_minor::text, transfer.currency, transfer.description, transfer.metadata::text,
    transfer.reversal_of::text, {_microseconds("transfer.effective_at")},
    {_microseconds("transfer.created_at")}, {_microseconds("transfer.execute_at")},
    transfer.leg_count::text, transfer.requested_by::text, transfer.batch_id::text)::text"""


def _digest(of: str) -> str:
    return f"sha256(convert_to({of}, 'UTF8'))"


RECORDS: Final = (
    f"string_agg(uuid_send(entry.id) || {_digest(ENTRY_TEXT)} || {_digest(TRANSFER_TEXT)},"
    " ''::bytea ORDER BY entry.sequence)"
)

TRANSFER_OF_ENTRY: Final = """CROSS JOIN LATERAL (
        SELECT * FROM transfers AS transfer WHERE transfer.id = entry.transfer_id OFFSET 0
    ) AS transfer"""
"""Of each row ``entry``, looked up by its index: a join may be planned to read all transfers."""

_RANGES: Final = text(
    """
SELECT changed.account_id, coalesce(sealed.last_sequence, 0) + 1 AS first_sequence,
    changed.last_sequence
FROM balances AS changed
LEFT JOIN LATERAL (
    SELECT segment.last_sequence FROM ledger_seal_segments AS segment
    WHERE segment.account_id = changed.account_id
    ORDER BY segment.first_sequence DESC LIMIT 1
) AS sealed ON true
WHERE changed.account_id = ANY(CAST(:accounts AS uuid[]))
    AND changed.last_sequence > coalesce(sealed.last_sequence, 0)
ORDER BY changed.account_id
"""
)

# Ids are of version 7: they begin with the time at which a process made them.
_RECENT: Final = text(
    "SELECT DISTINCT account_id FROM ledger_entries WHERE id >= CAST(:since AS uuid)"
)
_ACCOUNTS: Final = text(
    "SELECT account_id FROM balances WHERE account_id > CAST(:after AS uuid)"
    " ORDER BY account_id LIMIT :number"
)

# What has not all its entries cannot be sealed: its fault is for the invariants to tell.
# OFFSET 0 has each range looked up by its index: the planner does not know how short ranges are,
# and would read the whole ledger instead, for every seal.
_WRITE_SEGMENTS: Final = text(
    f"""
INSERT INTO ledger_seal_segments
    (seal_number, account_id, first_sequence, last_sequence, records, digest)
SELECT :number, account_id, first_sequence, last_sequence, records,
    sha256(uuid_send(account_id) || int8send(first_sequence) || int8send(last_sequence) || records)
FROM (
    SELECT wanted.account_id, wanted.first_sequence, wanted.last_sequence, {RECORDS} AS records,
        count(*) AS found
    FROM unnest(CAST(:accounts AS uuid[]), CAST(:firsts AS bigint[]), CAST(:lasts AS bigint[]))
        AS wanted (account_id, first_sequence, last_sequence)
    CROSS JOIN LATERAL (
        SELECT * FROM ledger_entries AS entry
        WHERE entry.account_id = wanted.account_id
            AND entry.sequence BETWEEN wanted.first_sequence AND wanted.last_sequence
        OFFSET 0
    ) AS entry
    {TRANSFER_OF_ENTRY}
    GROUP BY wanted.account_id, wanted.first_sequence, wanted.last_sequence
) AS made
WHERE found = last_sequence - first_sequence + 1
RETURNING account_id, last_sequence - first_sequence + 1 AS entries, digest
"""  # noqa: S608 - of this module
)

_NEWEST: Final = select(ledger_seals).order_by(ledger_seals.c.number.desc()).limit(1)


@dataclass(frozen=True, slots=True)
class UnsealedRange:
    """Entries of one account that no seal covers, both ends included."""

    account_id: UUID
    first_sequence: int
    last_sequence: int

    @property
    def entries(self) -> int:
        """How many they are."""
        return self.last_sequence - self.first_sequence + 1

    def shortened(self, entries: int) -> "UnsealedRange":
        """Give the first so many of them."""
        return UnsealedRange(
            self.account_id,
            self.first_sequence,
            min(self.last_sequence, self.first_sequence + entries - 1),
        )


@dataclass(frozen=True, slots=True)
class WrittenSegment:
    """A segment that was just written."""

    account_id: UUID
    entries: int
    digest: bytes


class SealRepository:
    """Seals and their segments. They are only added."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def is_alone(self) -> bool:
        """Take the sealing lock until the transaction ends, unless another holds it."""
        taken = await self._connection.scalar(
            text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": SEALING_LOCK}
        )
        return bool(taken)

    async def newest(self) -> Seal | None:
        """Read the newest seal."""
        row = (await self._connection.execute(_NEWEST)).mappings().one_or_none()
        return None if row is None else seal_from(row)

    async def get(self, number: int) -> Seal | None:
        """Read one seal."""
        found = await self._connection.execute(
            select(ledger_seals).where(ledger_seals.c.number == number)
        )
        row = found.mappings().one_or_none()
        return None if row is None else seal_from(row)

    async def recently_changed(self, age: timedelta) -> Sequence[UUID]:
        """Find the accounts that have entries with ids of this age or younger."""
        oldest = await self._connection.scalar(text("SELECT clock_timestamp()"))
        since = first_uuid_at(oldest - age)
        return (await self._connection.scalars(_RECENT, {"since": since})).all()

    async def accounts_behind(self, after: UUID, number: int) -> Sequence[UUID]:
        """Give the next accounts by id."""
        found = await self._connection.scalars(_ACCOUNTS, {"after": after, "number": number})
        return found.all()

    async def unsealed(self, accounts: Sequence[UUID]) -> list[UnsealedRange]:
        """Find what is unsealed of accounts, in the order of their ids."""
        rows = await self._connection.execute(_RANGES, {"accounts": array_text.uuids(accounts)})
        return [
            UnsealedRange(row.account_id, row.first_sequence, row.last_sequence) for row in rows
        ]

    async def write_segments(
        self, number: int, ranges: Sequence[UnsealedRange]
    ) -> list[WrittenSegment]:
        """Write the segments of a seal that is still to be written, in the order of their accounts.

        Notes
        -----
        A range that has not all its entries is left out. Reads entries without a lock: what is
        committed of them never changes.
        """
        rows = await self._connection.execute(
            _WRITE_SEGMENTS,
            {
                "number": number,
                "accounts": array_text.uuids(each.account_id for each in ranges),
                "firsts": array_text.numbers(each.first_sequence for each in ranges),
                "lasts": array_text.numbers(each.last_sequence for each in ranges),
            },
        )
        written = [WrittenSegment(row.account_id, row.entries, bytes(row.digest)) for row in rows]
        return sorted(written, key=lambda segment: segment.account_id.bytes)

    async def write(self, seal: Seal) -> None:
        """Write a seal whose segments are written."""
        content = seal.content
        await self._connection.execute(
            insert(ledger_seals).values(
                number=content.number,
                previous_hash=content.previous_hash,
                root=content.root,
                segments=content.segments,
                entries=content.entries,
                position=content.position,
                sealed_at=content.sealed_at,
                hash=seal.hash,
            )
        )


def seal_from(row: Any) -> Seal:
    """Make a seal of a row of ``ledger_seals``."""
    return Seal(
        SealContent(
            number=row["number"],
            previous_hash=bytes(row["previous_hash"]),
            root=bytes(row["root"]),
            segments=row["segments"],
            entries=row["entries"],
            position=row["position"],
            sealed_at=row["sealed_at"],
        ),
        bytes(row["hash"]),
    )


def segment_from(row: Any) -> SealSegment:
    """Make a segment of a row of ``ledger_seal_segments``."""
    return SealSegment(
        seal_number=row["seal_number"],
        account_id=row["account_id"],
        first_sequence=row["first_sequence"],
        last_sequence=row["last_sequence"],
        records=bytes(row["records"]),
        digest=bytes(row["digest"]),
    )


def first_uuid_at(moment: datetime) -> UUID:
    """Give the smallest UUID of version 7 that was made at a time."""
    return UUID(int=(int(moment.timestamp() * 1000) << 80) | (0x7 << 76) | (0x2 << 62))
