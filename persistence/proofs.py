"""Rows of ``ledger_proofs`` and ``ledger_violations``: how far each proof is, and what it found."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.limits import PROOF_VIOLATIONS_MAXIMUM
from persistence.tables.ledger import ledger_proofs, ledger_violations

_NOW: Final = func.statement_timestamp()

_RECORD: Final = text(
    """
INSERT INTO ledger_violations AS known
    (proof, invariant, subject, message, first_seen_at, last_seen_at)
SELECT :proof, invariant, subject, string_agg(DISTINCT message, '; '),
    statement_timestamp(), statement_timestamp()
FROM unnest(CAST(:invariants AS smallint[]), CAST(:subjects AS text[]), CAST(:messages AS text[]))
    AS found (invariant, subject, message)
GROUP BY invariant, subject
ON CONFLICT (proof, invariant, subject) DO UPDATE SET
    message = excluded.message,
    first_seen_at = CASE WHEN known.resolved_at IS NULL
        THEN known.first_seen_at ELSE excluded.first_seen_at END,
    last_seen_at = excluded.last_seen_at,
    resolved_at = NULL
"""
)


@dataclass(frozen=True, slots=True)
class Walk:
    """A walk through the ledger, which begins again when it has come to the end.

    Parameters
    ----------
    position
        What is proved so far, in the walk's own words; ``None`` at the beginning.
    examined
        Rows that were looked at since the beginning.
    """

    name: str
    position: str | None
    pass_began_at: datetime
    examined: int


@dataclass(frozen=True, slots=True)
class WalkProgress:
    """What is known of a walk.

    Parameters
    ----------
    completed_at
        When it last came to the end.
    completed_examined
        Rows that it had looked at then.
    remaining
        Of the sealing, entries that it left unsealed.
    """

    name: str
    pass_began_at: datetime
    examined: int
    advanced_at: datetime
    completed_at: datetime | None
    completed_examined: int | None
    remaining: int | None


@dataclass(frozen=True, slots=True)
class FoundViolation:
    """What a slice found to be off."""

    invariant: int
    subject: str
    message: str


@dataclass(frozen=True, slots=True)
class OpenViolation:
    """What is off, and since when that is known."""

    proof: str
    invariant: int
    subject: str
    message: str
    first_seen_at: datetime
    last_seen_at: datetime


class ProofRepository:
    """The progress of proofs, and violations."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def walk(self, name: str) -> Walk:
        """Read where a walk is; a new one is at its beginning."""
        await self._connection.execute(
            insert(ledger_proofs)
            .values(name=name, pass_began_at=_NOW, advanced_at=_NOW)
            .on_conflict_do_nothing()
        )
        row = (
            await self._connection.execute(
                select(ledger_proofs).where(ledger_proofs.c.name == name)
            )
        ).one()
        return Walk(row.name, row.position, row.pass_began_at, row.examined)

    async def advance(self, walk: Walk, *, position: str | None, examined: int) -> bool:
        """Move a walk on from where it was read; ``None`` completes the pass, and begins anew.

        Returns
        -------
        bool
            Whether it was still there: somebody else may have moved it meanwhile.

        Notes
        -----
        With the pass, violations of this proof that were not seen in it again are resolved.
        """
        total = walk.examined + examined
        values = {"position": position, "advanced_at": _NOW, "examined": total}
        if position is None:
            values |= {
                "examined": 0,
                "pass_began_at": _NOW,
                "completed_at": _NOW,
                "completed_examined": total,
            }
        moved = await self._connection.execute(
            update(ledger_proofs)
            .where(
                ledger_proofs.c.name == walk.name,
                ledger_proofs.c.position.is_not_distinct_from(walk.position),
                ledger_proofs.c.pass_began_at == walk.pass_began_at,
            )
            .values(**values)
        )
        if moved.rowcount and position is None:
            await self._connection.execute(
                update(ledger_violations)
                .where(
                    ledger_violations.c.proof == walk.name,
                    ledger_violations.c.resolved_at.is_(None),
                    ledger_violations.c.last_seen_at < walk.pass_began_at,
                )
                .values(resolved_at=_NOW)
            )
        return bool(moved.rowcount)

    async def age(self, name: str) -> timedelta | None:
        """Tell how long ago a walk was last moved on; ``None`` where it never was."""
        age: timedelta | None = await self._connection.scalar(
            select(_NOW - ledger_proofs.c.advanced_at).where(ledger_proofs.c.name == name)
        )
        return age

    async def note_unsealed(self, name: str, remaining: int) -> None:
        """Note how many entries a look at the ledger has left unsealed."""
        noted = {"advanced_at": _NOW, "remaining": remaining}
        if remaining == 0:
            noted["completed_at"] = _NOW
        await self._connection.execute(
            insert(ledger_proofs)
            .values(name=name, pass_began_at=_NOW, **noted)
            .on_conflict_do_update(index_elements=["name"], set_=noted)
        )

    async def record(self, proof: str, found: Sequence[FoundViolation]) -> None:
        """Record what a slice found; what is known already is only seen again."""
        if not found:
            return
        await self._connection.execute(
            _RECORD,
            {
                "proof": proof,
                "invariants": [each.invariant for each in found],
                "subjects": [each.subject for each in found],
                "messages": [each.message for each in found],
            },
        )

    async def progress(self) -> list[WalkProgress]:
        """Read the progress of all walks."""
        rows = await self._connection.execute(select(ledger_proofs).order_by(ledger_proofs.c.name))
        return [
            WalkProgress(
                name=row.name,
                pass_began_at=row.pass_began_at,
                examined=row.examined,
                advanced_at=row.advanced_at,
                completed_at=row.completed_at,
                completed_examined=row.completed_examined,
                remaining=row.remaining,
            )
            for row in rows
        ]

    async def open_violations(self) -> list[OpenViolation]:
        """Read what is off, longest known first."""
        rows = await self._connection.execute(
            select(ledger_violations)
            .where(ledger_violations.c.resolved_at.is_(None))
            .order_by(
                ledger_violations.c.first_seen_at,
                ledger_violations.c.invariant,
                ledger_violations.c.subject,
            )
            .limit(PROOF_VIOLATIONS_MAXIMUM)
        )
        return [
            OpenViolation(
                row.proof,
                row.invariant,
                row.subject,
                row.message,
                row.first_seen_at,
                row.last_seen_at,
            )
            for row in rows
        ]
