"""The proofs of the invariants, a bounded slice of the ledger at a time.

Each slice is proved in one snapshot, by reads that lock nothing. A walk takes one slice behind the
other; what it says of the whole ledger holds by induction, since entries never change: an account
whose every entry follows from the one before it, and whose balance is what its last entry says, has
the balance that its entries sum to.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from persistence.limits import USED_THIS_MONTH
from persistence.proofs import FoundViolation
from persistence.seals import RECORDS, TRANSFER_OF_ENTRY
from persistence.verification import BATCHES_OFF, TRANSFERS_OFF, VIOLATIONS_SHOWN_MAXIMUM

SEALS_INVARIANT: Final = 8
"""Number under which what differs from its seal is reported, behind the seven invariants."""

TENANTS: Final = 20
ENTRIES: Final = 5_000
ACCOUNTS: Final = 1_000
TRANSFERS: Final = 2_500
BATCHES: Final = 1
"""A batch has 100,000 rows at most."""
SEGMENTS: Final = 1_000
SEALED_ENTRIES: Final = 5_000

_FIRST: Final = UUID(int=0)
_LAST: Final = UUID(int=2**128 - 1)


def _within(column: str) -> str:
    return f"{column} > CAST(:after AS uuid) AND {column} <= CAST(:upto AS uuid)"


@dataclass(frozen=True, slots=True)
class Slice:
    """What a slice proved.

    Parameters
    ----------
    position
        Where the next one begins; ``None`` where there is no more.
    """

    position: str | None
    examined: int
    violations: tuple[FoundViolation, ...]


Prove = Callable[[AsyncConnection, str | None], Awaitable[Slice]]

_ZERO_SUM: Final = f"""
SELECT 'tenant ' || account.tenant_id || ' ' || balance.currency AS subject,
    'all posted balances sum to ' || sum(balance.posted_minor) || ', not to 0' AS message
FROM accounts AS account
JOIN balances AS balance ON balance.account_id = account.id
WHERE {_within("account.tenant_id")}
GROUP BY account.tenant_id, balance.currency
HAVING sum(balance.posted_minor) <> 0
"""  # noqa: S608 - of this module, as all below

_BALANCES: Final = f"""
SELECT 'account ' || balance.account_id AS subject,
    'posted is ' || balance.posted_minor || ' at sequence ' || balance.last_sequence
    || '; its last entry, ' || coalesce(last.sequence, 0) || ', says '
    || coalesce(last.balance_after_minor, 0) AS message
FROM balances AS balance
LEFT JOIN LATERAL (
    SELECT entry.sequence, entry.balance_after_minor FROM ledger_entries AS entry
    WHERE entry.account_id = balance.account_id
    ORDER BY entry.sequence DESC LIMIT 1
) AS last ON true
WHERE {_within("balance.account_id")}
    AND (balance.posted_minor, balance.last_sequence)
        IS DISTINCT FROM (coalesce(last.balance_after_minor, 0), coalesce(last.sequence, 0))
"""  # noqa: S608

# Holds are found by the transfers that are not final: no index has those that are open.
_HELD: Final = f"""
SELECT 'account ' || balance.account_id AS subject,
    'held is ' || balance.held_minor || '; the open holds of unfinished transfers sum to '
    || coalesce(open.sum_minor, 0) AS message
FROM balances AS balance
LEFT JOIN (
    SELECT hold.account_id, sum(hold.amount_minor - hold.captured_minor) AS sum_minor
    FROM transfers AS transfer
    JOIN holds AS hold ON hold.transfer_id = transfer.id AND hold.status = 'HELD'
    WHERE transfer.state = 'PROCESSING' AND {_within("hold.account_id")}
    GROUP BY hold.account_id
) AS open ON open.account_id = balance.account_id
WHERE {_within("balance.account_id")} AND balance.held_minor <> coalesce(open.sum_minor, 0)
"""  # noqa: S608

_USAGE: Final = f"""
WITH limited AS (SELECT * FROM account_limits WHERE {_within("account_id")})
SELECT 'account ' || coalesce(told.account_id, held.account_id) AS subject,
    'of its limits ' || coalesce(told.used_minor, 0) || ' are used on '
    || coalesce(told.day, held.day) || '; what it sent that day sums to '
    || coalesce(held.used_minor, 0) AS message
FROM (
    SELECT * FROM account_usage
    WHERE day >= date_trunc('month', now() AT TIME ZONE 'UTC')::date AND {_within("account_id")}
) AS told
FULL JOIN ({USED_THIS_MONTH.replace("account_limits AS limits", "limited AS limits")}) AS held
    USING (account_id, day)
WHERE coalesce(told.used_minor, 0) <> coalesce(held.used_minor, 0)
UNION ALL
SELECT 'account ' || balance.account_id AS subject,
    'its balance and its limits disagree about whether it has any' AS message
FROM balances AS balance
LEFT JOIN limited USING (account_id)
WHERE {_within("balance.account_id")} AND balance.has_limits <> (limited.account_id IS NOT NULL)
"""  # noqa: S608

_OVERDRAFTS: Final = f"""
SELECT 'account ' || account_id AS subject,
    'posted is ' || posted_minor || ', below its overdraft limit of '
    || overdraft_limit_minor AS message
FROM balances
WHERE {_within("account_id")} AND kind = 'CUSTOMER' AND posted_minor < -overdraft_limit_minor
"""  # noqa: S608

_TRANSFERS: Final = f"""
WITH slice AS NOT MATERIALIZED (SELECT * FROM transfers WHERE {_within("id")})
{TRANSFERS_OFF}
"""  # noqa: S608

# The last entry of the slice before stands first, as what the next one follows from.
_SEQUENCES: Final = """
SELECT 'entry ' || id AS subject,
    'sequence ' || sequence || ' of account ' || account_id || ' with balance '
    || balance_after_minor || ' does not follow from sequence ' || coalesce(previous_sequence, 0)
    || ' with balance ' || coalesce(previous_minor, 0) AS message
FROM (
    SELECT *, lag(sequence) OVER account AS previous_sequence,
        lag(balance_after_minor) OVER account AS previous_minor
    FROM ledger_entries
    WHERE (account_id, sequence) >= (CAST(:account AS uuid), :sequence)
        AND (account_id, sequence) <= (CAST(:last_account AS uuid), :last_sequence)
    WINDOW account AS (PARTITION BY account_id ORDER BY sequence)
) AS entry
WHERE (account_id, sequence) > (CAST(:account AS uuid), :sequence)
    AND (sequence <> coalesce(previous_sequence, 0) + 1
        OR balance_after_minor <> coalesce(previous_minor, 0)
            + CASE direction WHEN 'CREDIT' THEN amount_minor ELSE -amount_minor END)
"""

_SEALS: Final = f"""
SELECT 'account ' || segment.account_id AS subject,
    'its entries from sequence ' || segment.first_sequence || ' to ' || segment.last_sequence
    || ' are not what seal ' || segment.seal_number || ' holds: transfers verify names the entry'
    AS message
FROM ledger_seal_segments AS segment
LEFT JOIN LATERAL (
    SELECT {RECORDS} AS records
    FROM ledger_entries AS entry
    {TRANSFER_OF_ENTRY}
    WHERE entry.account_id = segment.account_id
        AND entry.sequence BETWEEN segment.first_sequence AND segment.last_sequence
) AS found ON true
WHERE (segment.account_id, segment.first_sequence) > (CAST(:account AS uuid), :sequence)
    AND (segment.account_id, segment.first_sequence)
        <= (CAST(:last_account AS uuid), :last_sequence)
    AND found.records IS DISTINCT FROM segment.records
"""  # noqa: S608


def _walk_of_ids(ids: str, number: int, proofs: Mapping[int, tuple[str, ...]]) -> Prove:
    """Walk through a table by id.

    Parameters
    ----------
    ids
        Name of a table and its column of ids.
    proofs
        By invariant, queries of what is off between ``:after`` and ``:upto``.
    """
    table, column = ids.split(".")
    end = text(
        f"SELECT max({column}::text) AS upto, count(*) AS found FROM (SELECT {column} FROM {table}"  # noqa: S608
        f" WHERE {column} > CAST(:after AS uuid) ORDER BY {column} LIMIT :number) AS slice"
    )
    queries = [
        (invariant, _limited(query)) for invariant, found in proofs.items() for query in found
    ]

    async def prove(snapshot: AsyncConnection, position: str | None) -> Slice:
        after = position or str(_FIRST)
        row = (await snapshot.execute(end, {"after": after, "number": number})).one()
        is_last = row.found < number
        values = {"after": after, "upto": str(_LAST) if is_last else row.upto}
        return Slice(
            None if is_last else row.upto, row.found, await _violations(snapshot, queries, values)
        )

    return prove


def _walk_of_sequences(end: str, invariant: int, query: str, **values: int) -> Prove:
    """Walk through accounts and sequences.

    Parameters
    ----------
    end
        Query of the slice's last account and sequence, whether more follow, and its rows.
    """
    find_end, queries = text(end), [(invariant, _limited(query))]

    async def prove(snapshot: AsyncConnection, position: str | None) -> Slice:
        account, _, sequence = (position or f"{_FIRST}:0").partition(":")
        place = {"account": account, "sequence": int(sequence)}
        row = (await snapshot.execute(find_end, place | values)).one_or_none()
        if row is None:
            return Slice(None, 0, ())
        bounds = {"last_account": str(row.account_id), "last_sequence": row.sequence}
        found = await _violations(snapshot, queries, place | bounds)
        following = f"{row.account_id}:{row.sequence}" if row.has_more else None
        return Slice(following, int(row.examined), found)

    return prove


_ENTRIES_END: Final = """
SELECT account_id, sequence, place AS examined, place >= :number AS has_more
FROM (
    SELECT account_id, sequence, row_number() OVER (ORDER BY account_id, sequence) AS place
    FROM ledger_entries
    WHERE (account_id, sequence) > (CAST(:account AS uuid), :sequence)
    ORDER BY account_id, sequence LIMIT :number
) AS slice
ORDER BY place DESC LIMIT 1
"""

# At least one segment, and no more than have so many entries together.
_SEGMENTS_END: Final = """
SELECT account_id, first_sequence AS sequence, total AS examined, true AS has_more
FROM (
    SELECT account_id, first_sequence, row_number() OVER chain AS place,
        sum(last_sequence - first_sequence + 1) OVER chain AS total
    FROM (
        SELECT * FROM ledger_seal_segments
        WHERE (account_id, first_sequence) > (CAST(:account AS uuid), :sequence)
        ORDER BY account_id, first_sequence LIMIT :number
    ) AS following
    WINDOW chain AS (ORDER BY account_id, first_sequence)
) AS slice
WHERE place = 1 OR total <= :entries
ORDER BY place DESC LIMIT 1
"""


async def _violations(
    snapshot: AsyncConnection, queries: list[tuple[int, TextClause]], values: Mapping[str, Any]
) -> tuple[FoundViolation, ...]:
    return tuple(
        [
            FoundViolation(invariant, row.subject, row.message)
            for invariant, query in queries
            for row in await snapshot.execute(query, values)
        ]
    )


def _limited(query: str) -> TextClause:
    return text(f"{query} LIMIT {VIOLATIONS_SHOWN_MAXIMUM}")


def walk_entries(number: int) -> Prove:
    """Give the proof of the next so many entries: each follows from the one before it."""
    return _walk_of_sequences(_ENTRIES_END, 3, _SEQUENCES, number=number)


def walk_transfers(number: int) -> Prove:
    """Give the proof of the next so many transfers: each has the entries and holds it must have."""
    return _walk_of_ids("transfers.id", number, {6: (_TRANSFERS,)})


WALKS: Final[Mapping[str, Prove]] = MappingProxyType(
    {
        "tenants": _walk_of_ids("tenants.id", TENANTS, {1: (_ZERO_SUM,)}),
        "entries": walk_entries(ENTRIES),
        "accounts": _walk_of_ids(
            "balances.account_id",
            ACCOUNTS,
            {2: (_BALANCES,), 4: (_HELD, _USAGE), 5: (_OVERDRAFTS,)},
        ),
        "transfers": walk_transfers(TRANSFERS),
        "batches": _walk_of_ids(
            "transfer_batches.id", BATCHES, {6: (f"{BATCHES_OFF} AND {_within('batch.id')}",)}
        ),
        "seals": _walk_of_sequences(
            _SEGMENTS_END, SEALS_INVARIANT, _SEALS, number=SEGMENTS, entries=SEALED_ENTRIES
        ),
    }
)
"""Every walk by its name, with what proves its next slice."""

WALKS_OF_INVARIANT: Final[Mapping[int, tuple[str, ...]]] = MappingProxyType(
    {
        1: ("tenants",),
        2: ("accounts", "entries"),
        3: ("entries",),
        4: ("accounts",),
        5: ("accounts",),
        6: ("transfers", "batches"),
        7: ("workflows",),
        SEALS_INVARIANT: ("seals",),
    }
)
"""Which walks prove an invariant together."""
