"""What is stuck, why, and what an operator can do about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final
from uuid import UUID

from domain.ids import TenantId
from domain.limits import (
    STUCK_ACTIVITY_ATTEMPTS,
    STUCK_TASK_ATTEMPTS,
    STUCK_UNATTENDED_SECONDS,
)

NOT_FOUND: Final = "NOT_FOUND"
"""Status of a workflow that Temporal does not know, or no longer."""

OPEN_STATUSES: Final = frozenset({"RUNNING", "PAUSED"})


class StuckKind(StrEnum):
    """What can be stuck."""

    TRANSFER = "TRANSFER"
    BATCH = "BATCH"
    STANDING_ORDER_RUN = "STANDING_ORDER_RUN"


class StuckCause(StrEnum):
    """Why something is stuck. The first that applies, in this order, is told."""

    TEMPORAL_UNAVAILABLE = "temporal_unavailable"
    WORKFLOW_LOST = "workflow_lost"
    WORKFLOW_CLOSED = "workflow_closed"
    WORKFLOW_LEFT_OPEN = "workflow_left_open"
    PAUSED = "paused"
    WORKFLOW_TASK_FAILING = "workflow_task_failing"
    ACTIVITY_FAILING = "activity_failing"
    NO_WORKER = "no_worker"
    OVERDUE = "overdue"


class OperatorAction(StrEnum):
    """What an operator can do with a transfer, a batch, or a run of a standing order."""

    RETRY = "retry"
    """Try the pending step now."""
    PAUSE = "pause"
    """Let the pending step not be tried any more."""
    RESUME = "resume"
    CANCEL = "cancel"
    """Give it up, and release what it holds; refused where money has moved. A batch stops."""
    RESOLVE = "resolve"
    """Bring it to its one right end in the database, and close its workflow."""
    RESTART = "restart"
    """Go on in a new run of its workflow, from where the database says it is."""


_LIMIT_SECONDS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "ACCEPTED": 30,
        "SCHEDULED": 60,
        "AWAITING_APPROVAL": 60,
        "RESERVED": 30,
        "POSTED": 30,
        "STAGED": 60,
        "RUNNING": 60,
        "PROCESSING": 120,
    }
)
"""How long each stage may take, in seconds: of a transfer, a batch, and a standing order's run.
From its last change on, or from when its rest was to end."""


@dataclass(frozen=True, slots=True)
class PendingStep:
    """An activity that Temporal is trying.

    Parameters
    ----------
    attempt
        1 for the first.
    is_running
        A worker has it just now.
    """

    id: str
    name: str
    attempt: int
    is_paused: bool
    is_running: bool
    last_failure: str | None
    scheduled_at: datetime | None
    next_attempt_at: datetime | None


@dataclass(frozen=True, slots=True)
class WorkflowSight:
    """A workflow as Temporal sees it now.

    Parameters
    ----------
    status
        Temporal's name of it, or ``NOT_FOUND``.
    is_paused
        The workflow as a whole is.
    task_attempt
        Of the workflow task that waits or is failing; 0 where there is none.
    task_failure
        What the newest failed or timed-out task said, where tasks fail.
    is_task_running
        A worker has the task just now.
    """

    workflow_id: str
    run_id: str | None
    status: str
    is_paused: bool = False
    pause_reason: str | None = None
    steps: tuple[PendingStep, ...] = ()
    task_attempt: int = 0
    task_scheduled_at: datetime | None = None
    task_failure: str | None = None
    is_task_running: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it can still do something."""
        return self.status in OPEN_STATUSES

    @property
    def has_paused(self) -> bool:
        """Whether it, or a step of it, is paused."""
        return self.is_paused or any(step.is_paused for step in self.steps)

    @property
    def worst(self) -> PendingStep | None:
        """The pending step with the most attempts."""
        return max(self.steps, key=lambda step: step.attempt, default=None)


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something unfinished that should have moved on, as the database (or Temporal) has it.

    Parameters
    ----------
    id
        Of the transfer, the batch, or the standing order.
    since
        When it last changed, or when its rest was to end.
    held_minor
        What it holds now, in minor units; 0 where nothing.
    has_moved
        Money has moved already, at least in part.
    is_final
        It has its outcome, and only its workflow is open.
    is_recorded
        The database knows it; else only Temporal does.
    """

    kind: StuckKind
    id: UUID
    tenant_id: TenantId
    tenant_name: str
    stage: str
    since: datetime
    workflow_id: str
    idempotency_key: str | None = None
    amount_minor: int | None = None
    held_minor: int = 0
    currency: str | None = None
    has_moved: bool = False
    is_final: bool = False
    is_recorded: bool = True
    is_in_batch: bool = False
    scheduled_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found of a candidate.

    Parameters
    ----------
    sight
        ``None`` where Temporal did not answer.
    cause
        ``None`` where it is not stuck.
    explanation
        The cause in a sentence or two.
    """

    candidate: Candidate
    sight: WorkflowSight | None
    cause: StuckCause | None
    explanation: str
    actions: tuple[OperatorAction, ...]

    @property
    def attempts(self) -> int:
        """Attempts of the step, or of the workflow task, that does not get through."""
        if self.sight is None:
            return 0
        if self.cause is StuckCause.WORKFLOW_TASK_FAILING:
            return self.sight.task_attempt
        worst = self.sight.worst
        return worst.attempt if worst else self.sight.task_attempt

    @property
    def last_error(self) -> str | None:
        """What the last attempt failed of, where one has."""
        if self.sight is None:
            return None
        if self.cause is StuckCause.WORKFLOW_TASK_FAILING:
            return self.sight.task_failure
        worst = self.sight.worst
        return (worst.last_failure if worst else None) or self.sight.task_failure


_AT_WORK: Final = "It is under way, or waits for its time or for somebody."


def limit_of(candidate: Candidate) -> timedelta:
    """Tell how long the candidate's stage may take."""
    return timedelta(seconds=_LIMIT_SECONDS.get(candidate.stage, 0))


@dataclass(frozen=True, slots=True)
class StuckCount:
    """How much is stuck, of each tenant of which anything is.

    Parameters
    ----------
    is_whole
        Whether all was looked at; else so much is stuck at least.
    """

    by_tenant: Mapping[TenantId, int]
    is_whole: bool


def judge(candidate: Candidate, sight: WorkflowSight | None, now: datetime) -> Judgement:
    """Tell whether something is stuck, why, and what can be done."""
    cause, explanation = _cause(candidate, sight, now)
    return Judgement(candidate, sight, cause, explanation, _actions(candidate, sight, cause))


def _cause(
    candidate: Candidate, sight: WorkflowSight | None, now: datetime
) -> tuple[StuckCause | None, str]:
    is_late = now - candidate.since > limit_of(candidate)
    seconds = int(limit_of(candidate).total_seconds())
    late = f"It is {candidate.stage} for longer than the {seconds} s that this stage may take"
    if sight is None:
        if not is_late:
            return None, "It may just be under way; Temporal does not answer."
        return StuckCause.TEMPORAL_UNAVAILABLE, f"{late}, and Temporal does not answer."
    if candidate.is_final or not sight.is_open:
        return _disagreement(candidate, sight)
    if is_late:
        return _cause_of_open(sight, now) or (
            StuckCause.OVERDUE,
            f"{late}, and Temporal shows no reason.",
        )
    return _cause_of_open(sight, now) or (None, _AT_WORK)


def _disagreement(candidate: Candidate, sight: WorkflowSight) -> tuple[StuckCause | None, str]:
    """Tell how database and Temporal disagree about what is over in one of them."""
    if not candidate.is_final and sight.status == NOT_FOUND:
        text = "The database says PROCESSING, and Temporal knows no workflow for it."
        return StuckCause.WORKFLOW_LOST, text
    if not candidate.is_final:
        text = f"The database says PROCESSING, and its workflow has ended ({sight.status})."
        return StuckCause.WORKFLOW_CLOSED, text
    if sight.is_open:
        text = "It has its outcome in the database, and its workflow is still open."
        return StuckCause.WORKFLOW_LEFT_OPEN, text
    return None, "It has its outcome."


def _cause_of_open(sight: WorkflowSight, now: datetime) -> tuple[StuckCause, str] | None:
    if sight.has_paused:
        what = "Its workflow is" if sight.is_paused else f"Its step {_names(sight)} is"
        why = f": {sight.pause_reason}" if sight.pause_reason else ""
        return StuckCause.PAUSED, f"{what} paused{why}."
    if sight.task_attempt >= STUCK_TASK_ATTEMPTS:
        text = (
            f"Its workflow's code does not get through: attempt {sight.task_attempt} of a workflow "
            "task. A worker of a wrong version, or a bug in the workflow, does that."
        )
        return StuckCause.WORKFLOW_TASK_FAILING, text
    worst = sight.worst
    if worst is not None and worst.attempt >= STUCK_ACTIVITY_ATTEMPTS:
        text = f"Its step {worst.name} fails again and again: attempt {worst.attempt}."
        return StuckCause.ACTIVITY_FAILING, text
    if _is_unattended(sight, now):
        return StuckCause.NO_WORKER, "No worker takes up its work."
    return None


def _is_unattended(sight: WorkflowSight, now: datetime) -> bool:
    """Tell whether work waits for a worker, and none comes."""
    patience = timedelta(seconds=STUCK_UNATTENDED_SECONDS)
    waiting = [
        step.next_attempt_at or step.scheduled_at for step in sight.steps if not step.is_running
    ]
    if sight.task_attempt and not sight.is_task_running:
        waiting.append(sight.task_scheduled_at)
    return any(moment is not None and now - moment > patience for moment in waiting)


def _names(sight: WorkflowSight) -> str:
    return ", ".join(step.name for step in sight.steps if step.is_paused)


def _actions(
    candidate: Candidate, sight: WorkflowSight | None, cause: StuckCause | None
) -> tuple[OperatorAction, ...]:
    """List what would do something, and is safe."""
    if sight is None:
        return ()
    found = _actions_on_steps(sight)
    if candidate.kind is StuckKind.BATCH and not candidate.is_final:
        found.append(OperatorAction.CANCEL)
    if candidate.kind is not StuckKind.TRANSFER:
        return tuple(found)
    is_alone = candidate.is_recorded and not candidate.is_in_batch
    if not candidate.is_final and not candidate.has_moved and not candidate.is_in_batch:
        found.append(OperatorAction.CANCEL)
    if cause is not None and is_alone:
        found.append(OperatorAction.RESOLVE)
    if is_alone and not candidate.is_final and cause in _RESTARTED:
        found.append(OperatorAction.RESTART)
    return tuple(found)


def _actions_on_steps(sight: WorkflowSight) -> list[OperatorAction]:
    found: list[OperatorAction] = []
    if sight.is_open:
        if any(not step.is_paused for step in sight.steps):
            found += [OperatorAction.RETRY, OperatorAction.PAUSE]
        if sight.has_paused:
            found.append(OperatorAction.RESUME)
    return found


_RESTARTED: Final = frozenset(
    {StuckCause.WORKFLOW_CLOSED, StuckCause.WORKFLOW_LOST, StuckCause.WORKFLOW_TASK_FAILING}
)
