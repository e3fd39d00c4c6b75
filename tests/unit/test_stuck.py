"""What counts as stuck, and what can be done about it."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from domain.ids import TenantId
from domain.limits import STUCK_ACTIVITY_ATTEMPTS, STUCK_TASK_ATTEMPTS, STUCK_UNATTENDED_SECONDS
from domain.operator_actions import ActionOutcome, plan_of
from domain.stuck import (
    Candidate,
    OperatorAction,
    PendingStep,
    StuckCause,
    StuckKind,
    WorkflowSight,
    judge,
)

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
RESERVED = Candidate(
    kind=StuckKind.TRANSFER,
    id=uuid4(),
    tenant_id=TenantId(uuid4()),
    tenant_name="acme",
    stage="RESERVED",
    since=NOW,
    workflow_id="workflow",
    amount_minor=600,
    held_minor=600,
    currency="EUR",
)
LATE = replace(RESERVED, since=NOW - timedelta(seconds=31))
OPEN = WorkflowSight("workflow", "run", "RUNNING")
STEP = PendingStep(
    id="1",
    name="post_entries",
    attempt=1,
    is_paused=False,
    is_running=True,
    last_failure=None,
    scheduled_at=NOW,
    next_attempt_at=None,
)
RUNBOOK = Path(__file__).parents[2] / "docs" / "operations.md"
STOPPED = {"resume", "cancel"}
AGO = NOW - timedelta(seconds=STUCK_UNATTENDED_SECONDS + 1)


def trying(**changes: object) -> WorkflowSight:
    return replace(OPEN, steps=(replace(STEP, **changes),))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("candidate", "sight", "cause"),
    [
        (RESERVED, OPEN, None),
        (LATE, OPEN, StuckCause.OVERDUE),
        (RESERVED, None, None),
        (LATE, None, StuckCause.TEMPORAL_UNAVAILABLE),
        (RESERVED, replace(OPEN, status="NOT_FOUND"), StuckCause.WORKFLOW_LOST),
        (RESERVED, replace(OPEN, status="TERMINATED"), StuckCause.WORKFLOW_CLOSED),
        (replace(RESERVED, is_final=True), OPEN, StuckCause.WORKFLOW_LEFT_OPEN),
        (replace(RESERVED, is_final=True), replace(OPEN, status="COMPLETED"), None),
        (RESERVED, replace(OPEN, status="PAUSED", is_paused=True), StuckCause.PAUSED),
        (RESERVED, trying(is_paused=True), StuckCause.PAUSED),
        (
            *(RESERVED, replace(OPEN, task_attempt=STUCK_TASK_ATTEMPTS)),
            StuckCause.WORKFLOW_TASK_FAILING,
        ),
        (RESERVED, replace(OPEN, task_attempt=STUCK_TASK_ATTEMPTS - 1), None),
        (RESERVED, trying(attempt=STUCK_ACTIVITY_ATTEMPTS), StuckCause.ACTIVITY_FAILING),
        (RESERVED, trying(attempt=STUCK_ACTIVITY_ATTEMPTS - 1), None),
        (RESERVED, trying(is_running=False, scheduled_at=AGO), StuckCause.NO_WORKER),
        (RESERVED, trying(is_running=False, scheduled_at=AGO, next_attempt_at=NOW), None),
        (RESERVED, replace(OPEN, task_attempt=1, task_scheduled_at=AGO), StuckCause.NO_WORKER),
        (
            RESERVED,
            replace(OPEN, task_attempt=1, task_scheduled_at=AGO, is_task_running=True),
            None,
        ),
    ],
)
def test_a_cause_is_told_where_there_is_one(
    candidate: Candidate, sight: WorkflowSight | None, cause: StuckCause | None
) -> None:
    found = judge(candidate, sight, NOW)
    assert found.cause is cause
    assert found.explanation.endswith(".")


@pytest.mark.parametrize(
    ("candidate", "sight", "actions"),
    [
        (LATE, None, set()),
        (RESERVED, OPEN, {"cancel"}),
        (LATE, OPEN, {"cancel", "resolve"}),
        (LATE, trying(), {"retry", "pause", "cancel", "resolve"}),
        (LATE, trying(is_paused=True), {"resume", "cancel", "resolve"}),
        (replace(LATE, has_moved=True, stage="POSTED"), OPEN, {"resolve"}),
        (LATE, replace(OPEN, status="TERMINATED"), {"cancel", "resolve", "restart"}),
        (replace(LATE, is_recorded=False), trying(), {"retry", "pause", "cancel"}),
        (replace(LATE, is_in_batch=True), OPEN, set()),
        (replace(LATE, kind=StuckKind.BATCH), trying(), {"retry", "pause", "cancel"}),
        (replace(LATE, kind=StuckKind.BATCH, has_moved=True), trying(is_paused=True), STOPPED),
        (replace(LATE, kind=StuckKind.BATCH, is_final=True), OPEN, set()),
        (replace(LATE, kind=StuckKind.STANDING_ORDER_RUN), trying(), {"retry", "pause"}),
        (replace(LATE, kind=StuckKind.STANDING_ORDER_RUN), trying(is_paused=True), {"resume"}),
        (replace(LATE, kind=StuckKind.STANDING_ORDER_RUN), OPEN, set()),
        (replace(RESERVED, is_final=True, has_moved=True), OPEN, {"resolve"}),
        (replace(RESERVED, is_final=True), replace(OPEN, status="COMPLETED"), set()),
    ],
)
def test_what_can_be_done_is_what_would_do_something(
    candidate: Candidate, sight: WorkflowSight | None, actions: set[str]
) -> None:
    assert set(judge(candidate, sight, NOW).actions) == actions


@pytest.mark.parametrize("kind", StuckKind)
@pytest.mark.parametrize("action", OperatorAction)
def test_a_plan_is_told_of_every_action_that_can_be_done_and_of_no_other(
    action: OperatorAction, kind: StuckKind
) -> None:
    for sight in (OPEN, trying(), trying(is_paused=True), replace(OPEN, status="TERMINATED")):
        found = judge(replace(LATE, kind=kind), sight, NOW)
        plan = plan_of(found, action)
        is_planned = plan.outcome is ActionOutcome.WOULD_BE_DONE
        assert is_planned == (action in found.actions)
        assert (plan.code is None) == (plan.outcome is not ActionOutcome.REFUSED)


def test_the_runbook_says_of_each_cause_and_of_each_action_what_to_do() -> None:
    runbook = RUNBOOK.read_text()
    table = runbook.split("| cause | means | do |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| .+ \| .+ \|$", table, flags=re.MULTILINE)
    assert sorted(rows) == sorted(StuckCause)
    for action in OperatorAction:
        assert f"`{action}`" in runbook, action


def test_nothing_is_planned_where_temporal_does_not_answer() -> None:
    plan = plan_of(judge(LATE, None, NOW), OperatorAction.RESOLVE)
    assert (plan.outcome, plan.code) == (ActionOutcome.FAILED, "temporal_unavailable")
