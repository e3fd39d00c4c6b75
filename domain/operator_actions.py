"""What operators ask for, what it would do, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from domain.errors import (
    ActionNotPossible,
    AlreadyPosted,
    BatchCancelled,
    ResolvedByOperator,
    TemporalUnavailable,
    TransferCancelled,
)
from domain.ids import TenantId
from domain.stuck import Candidate, Judgement, OperatorAction, StuckKind


class ActionOutcome(StrEnum):
    """What became of an action on one thing."""

    WOULD_BE_DONE = "would_be_done"
    """Of a preview: the action would do something."""
    DONE = "done"
    UNDER_WAY = "under_way"
    """Asked for durably; it happens when a worker, or a step, is there again."""
    NOTHING_TO_DO = "nothing_to_do"
    """What was asked for is so already."""
    REFUSED = "refused"
    """It does not fit the thing as it stands; nothing was done."""
    FAILED = "failed"
    """Nobody knows: a server was away meanwhile. The action may be repeated."""


@dataclass(frozen=True, slots=True)
class ActionPlan:
    """What an action would do with something as it stands.

    Parameters
    ----------
    code
        Of the refusal, where it is one.
    message
        What would happen, or why nothing would, in a sentence or two.
    """

    outcome: ActionOutcome
    message: str
    code: str | None = None


@dataclass(frozen=True, slots=True)
class ActionResult:
    """What became of an action on a transfer, a batch, or a run of a standing order.

    Parameters
    ----------
    id
        Of the transfer, the batch, or the standing order.
    found
        What the action met; ``None`` where there is nothing of that id.
    """

    id: UUID
    action: OperatorAction
    plan: ActionPlan
    found: Judgement | None = None

    @property
    def kind(self) -> StuckKind | None:
        """What it is."""
        return None if self.found is None else self.found.candidate.kind

    @property
    def tenant_id(self) -> TenantId | None:
        """Whose it is."""
        return None if self.found is None else self.found.candidate.tenant_id


def plan_of(found: Judgement, action: OperatorAction) -> ActionPlan:
    """Tell what an action would do."""
    if action in found.actions:
        return ActionPlan(ActionOutcome.WOULD_BE_DONE, _EFFECTS[action](found))
    if found.sight is None:
        away = TemporalUnavailable()
        return ActionPlan(ActionOutcome.FAILED, away.message, away.code)
    is_transfer = found.candidate.kind is StuckKind.TRANSFER
    if action is OperatorAction.CANCEL and is_transfer and found.candidate.has_moved:
        return _refused(AlreadyPosted().message, AlreadyPosted.code)
    reason = _idle(found, action)
    if reason is not None:
        return ActionPlan(ActionOutcome.NOTHING_TO_DO, reason)
    return _refused(_refusal(found, action))


def _idle(found: Judgement, action: OperatorAction) -> str | None:
    """Say why an action would change nothing, where what it asks for is so already."""
    sight = found.sight
    if found.candidate.is_final:
        return f"It is {found.candidate.stage}, for ever."
    if sight is None or not sight.is_open:
        return None
    reasons = {OperatorAction.RESUME: "Nothing of it is paused."}
    if sight.has_paused:
        reasons[OperatorAction.PAUSE] = "It is paused."
    else:
        reasons[OperatorAction.RETRY] = "No step of it waits for another attempt."
    if found.candidate.is_recorded and found.candidate.kind is StuckKind.TRANSFER:
        reasons[OperatorAction.RESTART] = "Its workflow is open, and its code gets through."
    return reasons.get(action)


def _refusal(found: Judgement, action: OperatorAction) -> str:
    kind = found.candidate.kind
    if found.candidate.is_in_batch:
        return "It belongs to a batch, which moves as a whole: act on the batch."
    if not found.candidate.is_recorded:
        return "The database has no record of it yet: retry, pause or cancel its first step."
    if action is OperatorAction.PAUSE:
        return "No step of it waits for another attempt, so that there is nothing to pause."
    if action is OperatorAction.RETRY and found.sight is not None and found.sight.has_paused:
        return "It is paused: resume it, and it is tried at once."
    if action is OperatorAction.RESOLVE and kind is StuckKind.TRANSFER:
        return "It is not stuck: it is under way, or waits for its time or for somebody."
    return _INSTEAD[kind]


def _refused(message: str, code: str = ActionNotPossible.code) -> ActionPlan:
    return ActionPlan(ActionOutcome.REFUSED, message, code)


def _steps(found: Judgement) -> str:
    if found.sight is None:
        return "steps"
    return ", ".join(step.name for step in found.sight.steps) or "workflow"


def _retry(found: Judgement) -> str:
    return f"Its {_steps(found)} is tried again at once, its attempts counted anew."


def _pause(found: Judgement) -> str:
    return (
        f"Its {_steps(found)} is not tried any more until it is resumed; an attempt that is under "
        "way goes on to its end, or to the end of a batch's chunk."
    )


def _resume(found: Judgement) -> str:
    return f"Its {_steps(found)} goes on at once."


def _cancel(found: Judgement) -> str:
    if found.candidate.kind is StuckKind.BATCH:
        return (
            f"It becomes CANCELLED with {BatchCancelled.code}: what is posted stays, and all rows "
            "without an outcome are cancelled."
        )
    if not found.candidate.is_recorded:
        return "Its workflow is asked to give it up as soon as its first step gets through."
    return f"It becomes FAILED with {TransferCancelled.code}{_released(found.candidate)}."


def _resolve(found: Judgement) -> str:
    candidate = found.candidate
    if candidate.is_final:
        return f"It stays {candidate.stage}; its workflow is closed."
    if candidate.has_moved:
        return f"Its entries are posted, so it becomes SUCCESS{_released(candidate)}."
    return f"No entry is posted, so it becomes FAILED with {_RESOLVED}{_released(candidate)}."


def _restart(found: Judgement) -> str:
    return (
        f"A new run of its workflow goes on from stage {found.candidate.stage}, as the database "
        "has it; what is done is not done twice."
    )


def _released(candidate: Candidate) -> str:
    if not candidate.held_minor:
        return ""
    return f", and {candidate.held_minor} {candidate.currency} (minor units) are released"


_RESOLVED: Final = ResolvedByOperator.code
_INSTEAD: Final[Mapping[StuckKind, str]] = {
    StuckKind.TRANSFER: "Its workflow has ended: restart it, resolve it or cancel it.",
    StuckKind.BATCH: "A batch is retried, paused, resumed or cancelled; where its workflow has "
    "ended, the reconciliation ends it.",
    StuckKind.STANDING_ORDER_RUN: "A run is retried, paused or resumed; for all else act on its "
    "transfer.",
}
_EFFECTS: Final = {
    OperatorAction.RETRY: _retry,
    OperatorAction.PAUSE: _pause,
    OperatorAction.RESUME: _resume,
    OperatorAction.CANCEL: _cancel,
    OperatorAction.RESOLVE: _resolve,
    OperatorAction.RESTART: _restart,
}
