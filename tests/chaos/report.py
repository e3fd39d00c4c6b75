"""What a run of chaos came to, for people and for programs."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Self

from tests.chaos.checker import Trouble, Violation
from tests.chaos.history import LOST_CONNECTION, OPERATION_KINDS, Attempt, History, Kind
from tests.chaos.nemesis import CLASSES

SHOWN_MAXIMUM = 50
"""Violations that are printed; the file has them all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What clients did and were told.

    Parameters
    ----------
    tried
        Orders with a key: transfers, holds, operations, reversals, batches.
    transfers
        Transfers among them, rows of batches included.
    sendings
        How often they were sent.
    unanswered
        Sendings without a definite answer, by what came instead.
    acknowledged
        Orders that had a definite answer when the faults stopped.
    done
        What clients had been told by then to have happened, by kind; without what they were
        endowed with before.
    in_doubt, resolved
        Orders without one then, and those of them that got one afterwards.
    """

    tried: int
    by_kind: Mapping[str, int]
    transfers: int
    sendings: int
    unanswered: Mapping[str, int]
    acknowledged: int
    done: Mapping[str, int]
    in_doubt: int
    resolved: int
    reads: int
    lost: int
    doubled: int
    other_violations: int

    @classmethod
    def of(
        cls,
        history: History,
        *,
        acknowledged: int,
        done: Mapping[str, int],
        in_doubt: int,
        violations: Sequence[Violation],
    ) -> Self:
        """Count what a history holds."""
        records = history.records.values()
        rows = sum(len(record.order.rows) for record in records)
        made = [r for r in records if r.order.kind not in {*OPERATION_KINDS, Kind.BATCH}]
        troubles = Counter(violation.trouble for violation in violations)
        lost, doubled = troubles.pop(Trouble.LOST, 0), troubles.pop(Trouble.DOUBLED, 0)
        attempts = [attempt for record in records for attempt in record.attempts]
        return cls(
            tried=len(records),
            by_kind=dict(Counter(record.order.kind.value for record in records)),
            transfers=len(made) + rows,
            sendings=len(attempts),
            unanswered=dict(
                Counter(_name(a) for a in attempts if a.status in {LOST_CONNECTION, 202, 503})
            ),
            acknowledged=acknowledged,
            done=done,
            in_doubt=in_doubt,
            resolved=in_doubt - len(history.open_records()),
            reads=len(history.reads),
            lost=lost,
            doubled=doubled,
            other_violations=troubles.total(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A whole run."""

    seed: int
    began_at: datetime
    duration_seconds: float
    settled_seconds: float
    processes: Sequence[str]
    faults: Mapping[str, int]
    sealed_entries: int
    figures: Figures
    violations: tuple[Violation, ...]

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.violations

    @property
    def faults_by_class(self) -> Mapping[str, int]:
        """How many faults there were of processes, connections and workflows."""
        return by_class(self.faults)

    def to_json(self) -> str:
        """Write all of it for programs."""
        whole = asdict(self) | {"began_at": self.began_at.isoformat(timespec="seconds")}
        return json.dumps(whole, indent=2) + "\n"

    def to_markdown(self) -> str:
        """Write the figures as a table that documentation can take as it is."""
        figures = self.figures
        rows = {
            "seed": self.seed,
            "began": f"{self.began_at:%Y-%m-%d %H:%M} UTC",
            "clients and faults for": f"{self.duration_seconds:g} s",
            "processes": ", ".join(self.processes),
            "faults injected": f"{sum(self.faults.values())}: {_counts(self.faults)}",
            "by what they are of": _counts(self.faults_by_class),
            "orders tried": f"{figures.tried}: {_counts(figures.by_kind)}",
            "transfers among them, rows of batches included": figures.transfers,
            "sendings": figures.sendings,
            "sendings without a definite answer": (
                f"{sum(figures.unanswered.values())}: {_counts(figures.unanswered)}"
            ),
            "acknowledged while things failed": figures.acknowledged,
            "done among them, without the endowment": (
                f"{sum(figures.done.values())}: {_counts(figures.done)}"
            ),
            "in doubt when faults stopped": figures.in_doubt,
            "resolved by their keys": figures.resolved,
            "all settled after": f"{self.settled_seconds:.1f} s",
            "reads checked": figures.reads,
            "entries that stand as they were sealed": self.sealed_entries,
            "lost": figures.lost,
            "doubled": figures.doubled,
            "other violations": figures.other_violations,
        }
        lines = [
            "| | |",
            "| --- | --- |",
            *(f"| {name} | {value} |" for name, value in rows.items()),
        ]
        return "\n".join(lines) + "\n"

    def to_text(self) -> str:
        """Write the figures, and what is wrong."""
        shown = [
            f"{found.trouble.upper()}: {found.subject} {found.message}"
            for found in self.violations[:SHOWN_MAXIMUM]
        ]
        if len(self.violations) > SHOWN_MAXIMUM:
            shown.append(f"… and {len(self.violations) - SHOWN_MAXIMUM} more")
        verdict = "Nothing is lost, doubled or stuck." if self.is_clean else "VIOLATIONS"
        return "\n".join([self.to_markdown(), verdict, *shown]) + "\n"


def by_class(faults: Mapping[str, int]) -> Mapping[str, int]:
    """Count faults by what they are of."""
    return {name: sum(faults.get(kind, 0) for kind in kinds) for name, kinds in CLASSES.items()}


def _name(attempt: Attempt) -> str:
    if attempt.status == LOST_CONNECTION:
        return f"no answer ({attempt.code})"
    return " ".join(filter(None, [str(attempt.status), attempt.code]))


def _counts(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    return ", ".join(f"{name} {count}" for name, count in ordered)
