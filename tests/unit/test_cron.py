import pytest

from workflows.cron import calendars_of


@pytest.mark.parametrize(
    ("expression", "minutes", "hours", "days", "months", "weekdays"),
    [
        ("0 9 1 * *", [0], [9], [1], 12, 7),
        ("*/15 8-10 * JAN,jul mon-fri", [0, 15, 30, 45], [8, 9, 10], 31, [1, 7], [1, 2, 3, 4, 5]),
        ("5/20 0 * * 7", [5, 25, 45], [0], 31, 12, [0]),
        ("0 0 29 2 *", [0], [0], [29], [2], 7),
    ],
)
def test_an_expression_of_five_fields_is_read(
    expression: str,
    minutes: object,
    hours: object,
    days: object,
    months: object,
    weekdays: object,
) -> None:
    (calendar,) = calendars_of(expression)
    fields = (
        calendar.minute,
        calendar.hour,
        calendar.day_of_month,
        calendar.month,
        calendar.day_of_week,
    )
    for ranges, expected in zip(fields, (minutes, hours, days, months, weekdays), strict=True):
        values = [each.start for each in ranges]
        assert values == expected or len(values) == expected


def test_two_named_days_are_two_calendars_for_either_will_do() -> None:
    first, second = calendars_of("0 9 1 * MON")
    assert [each.start for each in first.day_of_month] == [1]
    assert [each.start for each in second.day_of_week] == [1]
    assert (first.day_of_week[0].end, second.day_of_month[0].end) == (6, 31)


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("", "five fields"),
        ("* * * * * *", "five fields"),
        ("@daily", "five fields"),
        ("61 * * * *", "wrong minute"),
        ("0 24 * * *", "wrong hour"),
        ("0 0 0 * *", "wrong day-of-month"),
        ("0 0 1 13 *", "wrong month"),
        ("0 0 * * 8", "wrong day-of-week"),
        ("0 0 31 2 *", "wrong day-of-month"),
        ("5-1 * * * *", "wrong minute"),
        ("*/0 * * * *", "wrong minute"),
        ("0 0 L * *", "L or #"),
        ("0 0 LW * *", "L or #"),
        ("0 0 * * 5L", "L or #"),
        ("0 0 * * 5#2", "L or #"),
        ("\u0661 * * * *", "wrong minute"),
    ],
)
def test_what_is_no_such_expression_is_told(expression: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        calendars_of(expression)
