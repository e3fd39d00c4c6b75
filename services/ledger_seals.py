"""The sealing of the ledger: each seal covers entries, and the seal before it."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

from domain.ledger_seals import GENESIS_HASH, Seal, SealContent, root_of
from domain.limits import SEAL_ENTRIES_MAXIMUM, SEAL_SEGMENT_ENTRIES_MAXIMUM
from persistence.database import Database, UnitOfWork
from persistence.seals import UnsealedRange, WrittenSegment
from persistence.tenancy import EVERY_TENANT

SEALING: Final = "sealing"
"""Name under which the last look at recent entries is noted."""

SEALING_WALK: Final = "sealing walk"
"""Name of the walk through all accounts that finds what the look at recent entries has missed."""

WALK_ACCOUNTS: Final = 2_000
"""Accounts that the walk looks at in one step."""

OVERLAP: Final = timedelta(minutes=1)
"""How much older than the last look's end an entry's id may be and still be found at once: more
than a run takes, which looks at its beginning."""

RECENT_MAXIMUM: Final = timedelta(minutes=10)
"""What is older than this is left to the walk, so that the look at recent entries stays short."""


@dataclass(frozen=True, slots=True)
class SealingReport:
    """What one run of the sealing did.

    Parameters
    ----------
    unsealed
        Entries that it found and left for the next run.
    """

    seals: int
    entries: int
    unsealed: int


@dataclass(slots=True)
class _Run:
    """How a run of the sealing goes.

    Parameters
    ----------
    recent
        Accounts with entries since the last look; ``None`` before this run has looked.
    unsealable
        Accounts whose entries have a gap.
    left_of
        Entries that are left unsealed, by account.
    """

    deadline: float
    seals: int = 0
    entries: int = 0
    is_alone: bool = True
    recent: Sequence[UUID] | None = None
    unsealable: set[UUID] = field(default_factory=set)
    left_of: dict[UUID, int] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """Entries that are left unsealed."""
        return sum(self.left_of.values())

    @property
    def is_due(self) -> bool:
        """Whether it may go on."""
        return self.is_alone and asyncio.get_running_loop().time() < self.deadline


class SealService:
    """Seals what has been posted since, in the background."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def seal(self, *, seconds: float) -> SealingReport:
        """Seal what is unsealed, for so long at most.

        Raises
        ------
        DatabaseUnavailable
            No connection; what is sealed stays sealed.

        Notes
        -----
        One transaction a seal. Locks nothing that a transfer asks for: an advisory lock keeps a
        second sealing away, which then does nothing. Safe to repeat and to abandon at any point.
        """
        run = _Run(asyncio.get_running_loop().time() + seconds)
        while run.is_due and await self._seal_recent(run):
            pass
        while run.is_due and await self._seal_walking(run):
            pass
        if run.is_alone:
            async with self._database.transaction(EVERY_TENANT) as unit_of_work:
                await unit_of_work.proofs.note_unsealed(SEALING, run.left)
        return SealingReport(run.seals, run.entries, run.left)

    async def newest(self) -> Seal | None:
        """Read the newest seal; ``None`` before the first."""
        async with self._database.reading(EVERY_TENANT) as unit_of_work:
            return await unit_of_work.seals.newest()

    async def get(self, number: int) -> Seal | None:
        """Read a seal by its number."""
        async with self._database.reading(EVERY_TENANT) as unit_of_work:
            return await unit_of_work.seals.get(number)

    async def _seal_recent(self, run: _Run) -> bool:
        """Seal entries that were made since the last look; tell whether there may be more."""
        async with self._database.transaction(EVERY_TENANT) as unit_of_work:
            run.is_alone = await unit_of_work.seals.is_alone()
            if not run.is_alone:
                return False
            if run.recent is None:
                age = await unit_of_work.proofs.age(SEALING)
                since = RECENT_MAXIMUM if age is None else min(age + OVERLAP, RECENT_MAXIMUM)
                run.recent = await unit_of_work.seals.recently_changed(since)
            found = await unit_of_work.seals.unsealed(run.recent)
            return await _seal(unit_of_work, found, run)

    async def _seal_walking(self, run: _Run) -> bool:
        """Seal what the next accounts by id have unsealed; tell whether it is worth going on."""
        async with self._database.transaction(EVERY_TENANT) as unit_of_work:
            run.is_alone = await unit_of_work.seals.is_alone()
            if not run.is_alone:
                return False
            walk = await unit_of_work.proofs.walk(SEALING_WALK)
            accounts = await unit_of_work.seals.accounts_behind(
                UUID(walk.position or str(UUID(int=0))), WALK_ACCOUNTS
            )
            last = accounts[-1] if len(accounts) == WALK_ACCOUNTS else None
            found = await unit_of_work.seals.unsealed(accounts)
            entries = run.entries
            if not await _seal(unit_of_work, found, run):
                await unit_of_work.proofs.advance(
                    walk, position=None if last is None else str(last), examined=len(found)
                )
            return run.entries > entries


async def _seal(unit_of_work: UnitOfWork, found: Sequence[UnsealedRange], run: _Run) -> bool:
    """Write one seal over some entries; tell whether another one can take more of them."""
    taken = _fitting(each for each in found if each.account_id not in run.unsealable)
    written = await _write(unit_of_work, taken)
    sealed = {segment.account_id: segment.entries for segment in written}
    run.unsealable |= {each.account_id for each in taken} - sealed.keys()
    run.seals += bool(written)
    run.entries += sum(sealed.values())
    left = {each.account_id: each.entries - sealed.get(each.account_id, 0) for each in found}
    run.left_of |= left
    return any(left[account] for account in left.keys() - run.unsealable)


async def _write(unit_of_work: UnitOfWork, ranges: list[UnsealedRange]) -> list[WrittenSegment]:
    newest = await unit_of_work.seals.newest()
    number = 1 if newest is None else newest.content.number + 1
    written = await unit_of_work.seals.write_segments(number, ranges) if ranges else []
    if not written:
        return []
    entries = sum(segment.entries for segment in written)
    content = SealContent(
        number=number,
        previous_hash=GENESIS_HASH if newest is None else newest.hash,
        root=root_of(segment.digest for segment in written),
        segments=len(written),
        entries=entries,
        position=entries + (0 if newest is None else newest.content.position),
        sealed_at=await unit_of_work.now(),
    )
    await unit_of_work.seals.write(Seal(content, content.hash()))
    return written


def _fitting(found: Iterable[UnsealedRange]) -> list[UnsealedRange]:
    """Take so many entries as one seal may cover."""
    taken: list[UnsealedRange] = []
    room = SEAL_ENTRIES_MAXIMUM
    for each in found:
        if room == 0:
            break
        taken.append(each.shortened(min(room, SEAL_SEGMENT_ENTRIES_MAXIMUM)))
        room -= taken[-1].entries
    return taken
