"""A transfer's timeline: its stages from the database, the attempts between them from Temporal."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domain.evidence import HistoryRecord
from domain.transfers import TransferEvent

_LOCAL_FAILED: Final = "local activity failed"
_STARTED: Final = "activity started"
_PENDING: Final = "activity pending"
_TASK_FAILED: Final = "workflow task failed"
_DONE: Final = frozenset({"local activity completed", "activity completed"})
_FAILED: Final = frozenset({_LOCAL_FAILED, "activity failed", "activity timed out"})


@dataclass(frozen=True, slots=True)
class Attempts:
    """Tries of a step that did not get through.

    Parameters
    ----------
    step
        Name of the activity; ``None`` for the workflow's own code.
    failed
        How many have failed up to here; ``None`` where Temporal does not count them.
    is_pending
        It is being tried still.
    """

    step: str | None
    failed: int | None
    is_pending: bool
    error: str | None


@dataclass(frozen=True, slots=True)
class Moment:
    """A point of the timeline: a stage that was reached, or attempts that failed."""

    occurred_at: datetime
    stage: TransferEvent | None = None
    attempts: Attempts | None = None


@dataclass(frozen=True, slots=True)
class Timeline:
    """What happened to a transfer, oldest first.

    Parameters
    ----------
    steps
        Steps that got through, of those that Temporal still tells of.
    are_attempts_known
        Temporal answered, and still has the workflow.
    """

    moments: Sequence[Moment]
    steps: int
    are_attempts_known: bool

    @property
    def failures(self) -> int:
        """Points at which attempts had failed."""
        return sum(1 for moment in self.moments if moment.attempts is not None)


def timeline_of(
    events: Sequence[TransferEvent], records: Sequence[HistoryRecord] | None
) -> Timeline:
    """Put stages and failed attempts into one order; without records, the stages alone."""
    moments = [Moment(event.occurred_at, stage=event) for event in events]
    for record in records or ():
        attempts = _attempts_of(record)
        if attempts is not None:
            moments.append(Moment(record.occurred_at, attempts=attempts))
    moments.sort(key=lambda moment: moment.occurred_at)
    done = sum(1 for record in records or () if record.what in _DONE)
    return Timeline(moments, done, are_attempts_known=bool(records))


def _attempts_of(record: HistoryRecord) -> Attempts | None:
    """Tell of the attempts that failed, where a record knows of any."""
    if record.what in {_STARTED, _PENDING}:
        # Only the last attempt is an event; it says how many came before it, and how they ended.
        failed = (record.attempt or 1) - 1
        if not failed:
            return None
        return Attempts(record.step, failed, record.what == _PENDING, record.error)
    if record.what in _FAILED:
        return Attempts(record.step, record.attempt, is_pending=False, error=record.error)
    if record.what == _TASK_FAILED:
        return Attempts(None, record.attempt, is_pending=False, error=record.error)
    return None
