"""Standing orders: a transfer that is made again and again, at times that a schedule gives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, TypeAlias

from domain.errors import NotScheduled
from domain.ids import (
    AccountId,
    ApiKeyId,
    StandingOrderId,
    TenantId,
    TransferId,
    parse_uuid,
)
from domain.limits import STANDING_ORDER_LATE_SECONDS
from domain.money import Money
from domain.transfers import Failure, TransferRequest, TransferType

SCHEDULE_PREFIX: Final = "standing-order/"
UUID_LENGTH: Final = 36

WHOLE_SECOND: Final = timedelta(seconds=1)
"""What schedules count in."""


class StandingOrderStatus(StrEnum):
    """Whether runs are made."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    ENDED = "ENDED"
    """Its end has passed, and all its runs were made."""
    CANCELLED = "CANCELLED"


class MissedRuns(StrEnum):
    """What becomes of a run that could not begin at its time."""

    SKIP = "SKIP"
    """It is left out, once it is ``STANDING_ORDER_LATE_SECONDS`` late."""
    RUN_LATEST = "RUN_LATEST"
    """It is made up for, unless a later run is due as well."""
    RUN_ALL = "RUN_ALL"
    """It is made up for."""


class RunState(StrEnum):
    """What became of a run."""

    PROCESSING = "PROCESSING"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    """Its transfer failed, as with too little money. The order goes on."""
    SKIPPED = "SKIPPED"
    """No transfer was made."""


@dataclass(frozen=True, slots=True)
class IntervalSchedule:
    """Every so many seconds, counted from the order's start."""

    seconds: int


@dataclass(frozen=True, slots=True)
class CronSchedule:
    """The times of a cron expression of five fields, by the clock of a time zone.

    Parameters
    ----------
    time_zone
        Name of the IANA time zone database, such as ``Europe/Berlin``.
    """

    expression: str
    time_zone: str


OrderSchedule: TypeAlias = IntervalSchedule | CronSchedule


@dataclass(frozen=True, slots=True)
class StandingOrderRequest:
    """What a client asks for.

    Parameters
    ----------
    transfer
        What each run moves. Its idempotency key is the order's own.
    start_at
        First time at which a run may be; intervals are counted from here. ``None`` is now for a
        cron expression, and one interval from now for an interval.
    end_at
        Last time at which a run may be; ``None`` is never.
    """

    transfer: TransferRequest
    schedule: OrderSchedule
    start_at: datetime | None
    end_at: datetime | None
    missed_runs: MissedRuns

    def starting_at(self, now: datetime) -> datetime:
        """Tell the first time at which a run may be: the first whole second that is not before."""
        start = self.start_at or now
        if self.start_at is None and isinstance(self.schedule, IntervalSchedule):
            start += timedelta(seconds=self.schedule.seconds)
        whole = start.replace(microsecond=0)
        return whole if whole == start else whole + WHOLE_SECOND


@dataclass(frozen=True, slots=True)
class StandingOrder:
    """A standing order as it is recorded. What it says never changes, only its status.

    Parameters
    ----------
    paused_at
        When the latest pause began.
    resumed_at
        When the latest pause ended; older than ``paused_at`` while the order is paused.
    """

    id: StandingOrderId
    tenant_id: TenantId
    idempotency_key: str
    fingerprint: bytes
    type: TransferType
    source_account_id: AccountId
    destination_account_id: AccountId
    money: Money
    description: str | None
    metadata: Mapping[str, Any]
    schedule: OrderSchedule
    start_at: datetime
    end_at: datetime | None
    missed_runs: MissedRuns
    status: StandingOrderStatus
    status_reason: str | None
    created_by: ApiKeyId
    created_at: datetime
    updated_at: datetime
    paused_at: datetime | None
    resumed_at: datetime | None
    ended_at: datetime | None

    @property
    def is_over(self) -> bool:
        """Whether it makes no run any more, for ever."""
        return self.status in {StandingOrderStatus.ENDED, StandingOrderStatus.CANCELLED}

    def run_key(self, scheduled_at: datetime) -> str:
        """Name the idempotency key of the transfer that a run makes."""
        return f"{self.id}:{time_name(scheduled_at)}"

    def unattended_since(self, last: "StandingOrderRun | None", *, now: datetime) -> datetime:
        """Tell after which moment times may have passed without anything to start their runs.

        Parameters
        ----------
        last
            The run of the latest time.
        """
        known = [self._owed_after, self.resumed_at, last.scheduled_at if last else None]
        if self.missed_runs is MissedRuns.SKIP:
            known.append(now - timedelta(seconds=STANDING_ORDER_LATE_SECONDS))
        return max(moment for moment in known if moment is not None)

    def reason_to_skip(
        self, scheduled_at: datetime, *, due: Sequence[datetime], now: datetime
    ) -> Failure | None:
        """Decide whether the run of a time is made; ``None`` where it is.

        Parameters
        ----------
        due
            The schedule's times from ``scheduled_at`` until now, oldest first.

        Raises
        ------
        NotScheduled
            The order has no run at that time.
        """
        if self.is_over:
            return Failure("standing_order_over", f"The standing order was {self.status} by then.")
        if scheduled_at not in due or not self._spans(scheduled_at):
            raise NotScheduled(str(self.id), time_name(scheduled_at))
        if self._was_paused(scheduled_at):
            return Failure("standing_order_paused", "The standing order was paused then.")
        if self.missed_runs is MissedRuns.RUN_LATEST and due[-1] > scheduled_at:
            return Failure("superseded", f"The run of {time_name(due[-1])} was due as well.")
        late = now - scheduled_at
        if self.missed_runs is MissedRuns.SKIP and late > timedelta(
            seconds=STANDING_ORDER_LATE_SECONDS
        ):
            return Failure("missed", f"It could begin only {late.total_seconds():.0f} s late.")
        return None

    @property
    def _owed_after(self) -> datetime:
        """The moment after which times are the order's: it may be recorded late for its first.

        The first alone. A start of long ago only says from where intervals are counted, and an
        order made in place of another must not repeat what that one has run.
        """
        late = self.created_at - self.start_at
        if timedelta() <= late <= timedelta(seconds=STANDING_ORDER_LATE_SECONDS):
            return self.start_at - WHOLE_SECOND
        return self.created_at

    def _spans(self, moment: datetime) -> bool:
        return self.start_at <= moment and (self.end_at is None or moment <= self.end_at)

    def _was_paused(self, moment: datetime) -> bool:
        if self.status is StandingOrderStatus.PAUSED:
            return True
        if self.paused_at is None or self.resumed_at is None:
            return False
        return self.paused_at <= moment < self.resumed_at


@dataclass(frozen=True, slots=True)
class StandingOrderRun:
    """One run, as it is recorded: at most one an order and time.

    Parameters
    ----------
    scheduled_at
        The time that the schedule gave, not that of the actual start.
    transfer_id
        The transfer's, from the beginning on; ``None`` where none was made.
    failure
        Why the run failed, or was skipped.
    """

    order_id: StandingOrderId
    tenant_id: TenantId
    scheduled_at: datetime
    state: RunState
    transfer_id: TransferId | None
    failure: Failure | None
    created_at: datetime
    completed_at: datetime | None


def time_name(moment: datetime) -> str:
    """Write a time of a schedule as it stands in keys: RFC 3339, UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def schedule_id(order_id: StandingOrderId) -> str:
    """Name the Temporal Schedule that drives an order."""
    return f"{SCHEDULE_PREFIX}{order_id}"


def run_workflow_id(order_id: StandingOrderId, scheduled_at: datetime) -> str:
    """Name the workflow of a run, as Temporal makes it from the schedule's id."""
    return f"{schedule_id(order_id)}-{time_name(scheduled_at)}"


def parse_run_workflow_id(text: str) -> tuple[StandingOrderId, datetime] | None:
    """Read the order and the time that a run's workflow is named for, else ``None``."""
    named = text.removeprefix(SCHEDULE_PREFIX)
    order_id = parse_uuid(named[:UUID_LENGTH])
    try:
        scheduled_at = datetime.fromisoformat(named[UUID_LENGTH + 1 :])
    except ValueError:
        return None
    return None if order_id is None else (StandingOrderId(order_id), scheduled_at)
