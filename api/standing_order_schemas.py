"""Bodies of requests and answers about standing orders."""

from datetime import datetime
from functools import cache
from typing import Annotated, Any, Self, TypeAlias
from uuid import UUID
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    StrictInt,
    model_validator,
)
from pydantic_core import PydanticCustomError

from api.fields import Description, Moment
from api.schemas import RequestBody
from api.standing_order_desk import OrderInDetail
from api.transfer_schemas import Movement
from api.transfer_views import FailureView
from domain.limits import (
    CRON_LENGTH_MAXIMUM,
    STANDING_ORDER_INTERVAL_SECONDS_MAXIMUM,
    STANDING_ORDER_INTERVAL_SECONDS_MINIMUM,
    STANDING_ORDER_LATE_SECONDS,
)
from domain.money import Money
from domain.standing_orders import (
    CronSchedule,
    IntervalSchedule,
    MissedRuns,
    OrderSchedule,
    RunState,
    StandingOrder,
    StandingOrderRequest,
    StandingOrderRun,
    StandingOrderStatus,
)
from domain.transfers import TransferRequest, TransferType
from workflows.cron import calendars_of

NO_PLACES = frozenset({"Factory", "localtime"})
"""Names of the time zone database that name no zone."""


def _cron(value: str) -> str:
    try:
        calendars_of(value)
    except ValueError as error:
        raise PydanticCustomError("cron_form", "{reason}", {"reason": str(error)}) from None
    return " ".join(value.split())


@cache
def _time_zones() -> frozenset[str]:
    return frozenset(available_timezones()) - NO_PLACES


def _time_zone(value: str) -> str:
    if value not in _time_zones():
        raise PydanticCustomError(
            "unknown_time_zone", "must be a name of the IANA database, such as Europe/Berlin"
        )
    return value


Cron: TypeAlias = Annotated[
    str,
    Field(
        max_length=CRON_LENGTH_MAXIMUM,
        description="Minute, hour, day of month, month, day of week, as in `0 9 1 * *`.",
    ),
    AfterValidator(_cron),
]
TimeZone: TypeAlias = Annotated[
    str, Field(description="IANA name, as in `Europe/Berlin`."), AfterValidator(_time_zone)
]
IntervalSeconds: TypeAlias = Annotated[
    StrictInt,
    Field(ge=STANDING_ORDER_INTERVAL_SECONDS_MINIMUM, le=STANDING_ORDER_INTERVAL_SECONDS_MAXIMUM),
]


class ScheduleFields(RequestBody):
    """When runs are made: every so many seconds, or at the times of a cron expression."""

    interval_seconds: IntervalSeconds | None = None
    cron: Cron | None = None
    time_zone: TimeZone | None = None

    @model_validator(mode="after")
    def _require_one(self) -> Self:
        if (self.interval_seconds is None) == (self.cron is None):
            raise PydanticCustomError(
                "schedule_form", "must have either interval_seconds, or cron with time_zone"
            )
        if (self.cron is None) != (self.time_zone is None):
            raise PydanticCustomError(
                "schedule_form", "must have time_zone with cron, and only then"
            )
        return self

    def to_schedule(self) -> OrderSchedule:
        """Say it in the domain's words."""
        if self.cron is not None and self.time_zone is not None:
            return CronSchedule(self.cron, self.time_zone)
        return IntervalSchedule(self.interval_seconds or 0)


class StandingOrderCreate(Movement):
    """Money to be moved again and again."""

    schedule: ScheduleFields
    start_at: Moment | None = Field(
        default=None,
        description="First time at which a run may be, rounded up to the second; intervals are "
        "counted from here. By default now, or one interval from now. Where it has passed by no "
        f"more than {STANDING_ORDER_LATE_SECONDS} s, its run is made all the same; other times of "
        "the past have no run.",
    )
    end_at: Moment | None = Field(
        default=None, description="Last time at which a run may be. Never by default."
    )
    missed_runs: MissedRuns = Field(
        default=MissedRuns.RUN_ALL,
        description="What becomes of runs that could not begin at their time.",
    )

    def to_request(self, idempotency_key: str) -> StandingOrderRequest:
        """Say it in the domain's words."""
        return StandingOrderRequest(
            transfer=TransferRequest(
                idempotency_key=idempotency_key,
                type=TransferType(self.type),
                source=self.source,
                destination=self.destination,
                money=Money(self.amount, self.currency),
                description=self.description,
                metadata=self.metadata,
                effective_at=None,
            ),
            schedule=self.schedule.to_schedule(),
            start_at=self.start_at,
            end_at=self.end_at,
            missed_runs=self.missed_runs,
        )


class StatusChange(RequestBody):
    """Why an order is paused, resumed or cancelled."""

    reason: Description | None = None


class ScheduleView(BaseModel):
    """When runs are made; what does not apply is null."""

    interval_seconds: int | None
    cron: str | None
    time_zone: str | None

    @staticmethod
    def of(schedule: OrderSchedule) -> "ScheduleView":
        """Show a schedule."""
        if isinstance(schedule, IntervalSchedule):
            return ScheduleView(interval_seconds=schedule.seconds, cron=None, time_zone=None)
        return ScheduleView(
            interval_seconds=None, cron=schedule.expression, time_zone=schedule.time_zone
        )


class RunView(BaseModel):
    """One run of a standing order."""

    standing_order_id: UUID
    scheduled_at: datetime
    state: RunState
    transfer_id: UUID | None = Field(description="null where no transfer was made")
    failure: FailureView | None = Field(description="why the run failed or was skipped")
    created_at: datetime
    completed_at: datetime | None

    @staticmethod
    def of(run: StandingOrderRun) -> "RunView":
        """Show a run."""
        failure = run.failure
        return RunView(
            standing_order_id=run.order_id,
            scheduled_at=run.scheduled_at,
            state=run.state,
            transfer_id=run.transfer_id,
            failure=FailureView(code=failure.code, message=failure.message) if failure else None,
            created_at=run.created_at,
            completed_at=run.completed_at,
        )


class StandingOrderView(BaseModel):
    """A standing order."""

    id: UUID
    idempotency_key: str
    type: TransferType
    source: UUID
    destination: UUID
    amount: int
    currency: str
    description: str | None
    metadata: dict[str, Any]
    schedule: ScheduleView
    start_at: datetime
    end_at: datetime | None
    missed_runs: MissedRuns
    status: StandingOrderStatus
    status_reason: str | None
    created_by: UUID = Field(description="the API key that it was made with")
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, order: StandingOrder, **more: Any) -> Self:
        """Show an order."""
        return cls(
            id=order.id,
            idempotency_key=order.idempotency_key,
            type=order.type,
            source=order.source_account_id,
            destination=order.destination_account_id,
            amount=order.money.amount_minor,
            currency=order.money.currency,
            description=order.description,
            metadata=dict(order.metadata),
            schedule=ScheduleView.of(order.schedule),
            start_at=order.start_at,
            end_at=order.end_at,
            missed_runs=order.missed_runs,
            status=order.status,
            status_reason=order.status_reason,
            created_by=order.created_by,
            created_at=order.created_at,
            updated_at=order.updated_at,
            ended_at=order.ended_at,
            **more,
        )


class StandingOrderDetail(StandingOrderView):
    """A standing order with its neighbouring runs."""

    next_runs: list[datetime] | None = Field(
        description="the next ten at most; null where Temporal does not answer just now"
    )
    last_run: RunView | None

    @staticmethod
    def of_detail(detail: OrderInDetail) -> "StandingOrderDetail":
        """Show an order in detail."""
        return StandingOrderDetail.of(
            detail.order,
            next_runs=None if detail.next_runs is None else list(detail.next_runs),
            last_run=RunView.of(detail.last_run) if detail.last_run else None,
        )
