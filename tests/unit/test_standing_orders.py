from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from domain.errors import NotScheduled
from domain.ids import AccountId, ApiKeyId, StandingOrderId, TenantId
from domain.limits import STANDING_ORDER_LATE_SECONDS
from domain.money import Money
from domain.standing_orders import (
    CronSchedule,
    IntervalSchedule,
    MissedRuns,
    RunState,
    StandingOrder,
    StandingOrderRequest,
    StandingOrderRun,
    StandingOrderStatus,
    run_workflow_id,
)
from domain.transfers import TransferRequest, TransferType

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
TRANSFER = TransferRequest(
    "key", TransferType.INTERNAL, None, None, Money(1, "EUR"), None, {}, effective_at=None
)
ORDER = StandingOrder(
    id=StandingOrderId(UUID(int=7)),
    tenant_id=TenantId(UUID(int=1)),
    idempotency_key="key",
    fingerprint=b"",
    type=TransferType.INTERNAL,
    source_account_id=AccountId(UUID(int=2)),
    destination_account_id=AccountId(UUID(int=3)),
    money=Money(1, "EUR"),
    description=None,
    metadata={},
    schedule=IntervalSchedule(3_600),
    start_at=NOON,
    end_at=NOON + 3 * HOUR,
    missed_runs=MissedRuns.RUN_ALL,
    status=StandingOrderStatus.ACTIVE,
    status_reason=None,
    created_by=ApiKeyId(UUID(int=4)),
    created_at=NOON - HOUR,
    updated_at=NOON,
    paused_at=None,
    resumed_at=None,
    ended_at=None,
)


def reason(order: StandingOrder, *, late: timedelta = timedelta(), **changes: Any) -> str | None:
    """Decide on the run of noon; a later one is due once it is an hour late."""
    due = [NOON + hours * HOUR for hours in range(late // HOUR + 1)]
    decided = replace(order, **changes).reason_to_skip(NOON, due=due, now=NOON + late)
    return decided.code if decided else None


def test_a_run_has_a_key_and_a_workflow_of_its_time_in_utc() -> None:
    berlin = NOON.astimezone(tz=None)
    assert ORDER.run_key(berlin) == f"{ORDER.id}:2026-03-01T12:00:00Z"
    assert run_workflow_id(ORDER.id, NOON) == f"standing-order/{ORDER.id}-2026-03-01T12:00:00Z"


@pytest.mark.parametrize(
    ("policy", "late", "code"),
    [
        (MissedRuns.RUN_ALL, timedelta(days=30), None),
        (MissedRuns.RUN_LATEST, timedelta(minutes=59), None),
        (MissedRuns.RUN_LATEST, HOUR, "superseded"),
        (MissedRuns.SKIP, timedelta(seconds=STANDING_ORDER_LATE_SECONDS), None),
        (MissedRuns.SKIP, timedelta(seconds=STANDING_ORDER_LATE_SECONDS + 1), "missed"),
    ],
)
def test_a_late_run_is_made_as_the_order_says(
    policy: MissedRuns, late: timedelta, code: str | None
) -> None:
    assert reason(ORDER, late=late, missed_runs=policy) == code


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"status": StandingOrderStatus.PAUSED, "paused_at": NOON - HOUR}, "standing_order_paused"),
        ({"paused_at": NOON, "resumed_at": NOON + HOUR}, "standing_order_paused"),
        ({"paused_at": NOON - HOUR, "resumed_at": NOON}, None),
        ({"status": StandingOrderStatus.CANCELLED}, "standing_order_over"),
        ({"status": StandingOrderStatus.ENDED}, "standing_order_over"),
        ({"end_at": NOON}, None),
    ],
)
def test_a_run_heeds_the_orders_status_at_its_time(
    changes: dict[str, Any], code: str | None
) -> None:
    assert reason(ORDER, **changes) == code


@pytest.mark.parametrize(
    "changes", [{"start_at": NOON + HOUR}, {"end_at": NOON - HOUR, "start_at": NOON - 2 * HOUR}]
)
def test_there_is_no_run_before_the_start_or_behind_the_end(changes: dict[str, Any]) -> None:
    with pytest.raises(NotScheduled):
        reason(ORDER, **changes)


def test_there_is_no_run_at_a_time_that_the_schedule_does_not_have() -> None:
    with pytest.raises(NotScheduled):
        ORDER.reason_to_skip(NOON, due=[], now=NOON)


def test_times_are_unattended_since_the_last_run_the_last_pause_or_the_beginning() -> None:
    run = StandingOrderRun(
        ORDER.id, ORDER.tenant_id, NOON, RunState.SUCCESS, None, None, NOON, NOON
    )
    now = NOON + 5 * HOUR
    assert ORDER.unattended_since(None, now=now) == ORDER.created_at
    assert ORDER.unattended_since(run, now=now) == NOON
    resumed = replace(ORDER, resumed_at=NOON + HOUR)
    assert resumed.unattended_since(run, now=now) == NOON + HOUR
    skipping = replace(ORDER, missed_runs=MissedRuns.SKIP)
    late = timedelta(seconds=STANDING_ORDER_LATE_SECONDS)
    assert skipping.unattended_since(run, now=now) == now - late


def test_an_order_that_is_recorded_late_for_its_first_run_owes_that_run_and_none_before() -> None:
    late = timedelta(seconds=STANDING_ORDER_LATE_SECONDS)
    for created_at, since in (
        (NOON, NOON - SECOND),
        (NOON + late, NOON - SECOND),
        (NOON + late + SECOND, NOON + late + SECOND),
        (NOON + HOUR, NOON + HOUR),
        (NOON - SECOND, NOON - SECOND),
    ):
        order = replace(ORDER, created_at=created_at)
        assert order.unattended_since(None, now=NOON + HOUR) == since


def test_the_first_run_is_not_before_the_start() -> None:
    request = StandingOrderRequest(TRANSFER, IntervalSchedule(60), NOON, None, MissedRuns.RUN_ALL)
    assert request.starting_at(NOON) == NOON
    later = replace(request, start_at=NOON + timedelta(microseconds=1))
    assert later.starting_at(NOON) == NOON + SECOND


def test_an_order_without_a_start_begins_now_or_with_its_first_interval() -> None:
    now = NOON - timedelta(microseconds=9)
    request = StandingOrderRequest(TRANSFER, IntervalSchedule(60), None, None, MissedRuns.RUN_ALL)
    assert request.starting_at(now) == NOON + timedelta(seconds=60)
    cron = replace(request, schedule=CronSchedule("0 9 * * *", "UTC"))
    assert cron.starting_at(now) == NOON
    assert replace(request, start_at=NOON + HOUR).starting_at(now) == NOON + HOUR
