"""Cron expressions of five fields, as the calendars of a Temporal Schedule."""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final

from cronsim import CronSim, CronSimError
from temporalio.client import ScheduleCalendarSpec, ScheduleRange

FIELDS: Final = 5
ANY_DAY: Final = (ScheduleRange(1, 31),)
ANY_WEEKDAY: Final = (ScheduleRange(0, 6),)
_ANY_TIME: Final = datetime(2000, 1, 1, tzinfo=UTC)


def calendars_of(expression: str) -> list[ScheduleCalendarSpec]:
    """Read an expression.

    Raises
    ------
    ValueError
        It is no cron expression, or there is no such time; the message says what is wrong.

    Notes
    -----
    Temporal reads cron by itself, but wants both fields of the day to match where a crontab wants
    either. Two calendars say it as a crontab does.
    """
    if len(expression.split()) != FIELDS:
        raise ValueError("must have five fields: minute, hour, day of month, month, day of week")
    try:
        cron = CronSim(expression, _ANY_TIME)
    except CronSimError as error:
        raise ValueError(str(error).replace("Bad", "has a wrong")) from None
    weekdays = [day % 7 for day in cron.weekdays if isinstance(day, int)]
    if len(weekdays) < len(cron.weekdays) or min(cron.days) < 1:
        raise ValueError("must not use L or #, which not every cron knows")
    if next(cron, None) is None:
        raise ValueError("names a time that never comes")

    def calendar(
        days: Collection[ScheduleRange], weekdays: Collection[ScheduleRange]
    ) -> ScheduleCalendarSpec:
        return ScheduleCalendarSpec(
            minute=_ranges(cron.minutes),
            hour=_ranges(cron.hours),
            day_of_month=list(days),
            month=_ranges(cron.months),
            day_of_week=list(weekdays),
            comment=expression,
        )

    if cron.day_and:
        return [calendar(_ranges(cron.days), _ranges(weekdays))]
    return [calendar(_ranges(cron.days), ANY_WEEKDAY), calendar(ANY_DAY, _ranges(weekdays))]


def _ranges(values: Collection[int]) -> list[ScheduleRange]:
    """Give each value as a range of its own; Temporal puts neighbours together."""
    return [ScheduleRange(value) for value in sorted(set(values))]
