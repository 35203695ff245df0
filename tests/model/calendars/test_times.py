"""Sets of times of day, and the numbers of days and months, compared with plain sets and `datetime`."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from schedappliance.model.calendars.months import (
    all_days_in,
    date_of,
    first_day,
    kind_and_name,
    month_of,
    weekday_of,
)
from schedappliance.model.calendars.times import Times, times_of_day, union

EPOCH = date(1970, 1, 1)


def numbers(end: int) -> st.SearchStrategy[tuple[int, ...]]:
    few = st.frozensets(st.integers(0, end - 1), min_size=1, max_size=4)
    steps = st.builds(
        lambda start, step: frozenset(range(start, end, step)), st.integers(0, end - 1), st.integers(1, end)
    )
    return st.one_of(few, steps).map(lambda values: tuple(sorted(values)))


FIELDS = st.tuples(numbers(24), numbers(60), numbers(60))
SECONDS = st.integers(0, 86_400)


def expected(fields: tuple[tuple[int, ...], ...]) -> set[int]:
    hours, minutes, seconds = fields
    return {hour * 3600 + minute * 60 + second for hour in hours for minute in minutes for second in seconds}


def agree(times: Times, wanted: set[int], second: int) -> None:
    assert times.total == len(wanted)
    assert times.first_from(second) == min((one for one in wanted if one >= second), default=None)
    assert times.last_to(second) == max((one for one in wanted if one <= second), default=None)
    assert times.count_before(second) == sum(one < second for one in wanted)


@given(FIELDS, SECONDS)
def test_times_of_day(fields: tuple[tuple[int, ...], ...], second: int) -> None:
    times, wanted = times_of_day(*fields), expected(fields)
    agree(times, wanted, second)
    assert times.each_second() == sum(1 << one for one in wanted)


@given(FIELDS, FIELDS, SECONDS)
def test_a_union(one: tuple[tuple[int, ...], ...], other: tuple[tuple[int, ...], ...], second: int) -> None:
    agree(union(times_of_day(*one), times_of_day(*other)), expected(one) | expected(other), second)


@given(FIELDS, st.lists(st.tuples(SECONDS, SECONDS).map(sorted), max_size=3), SECONDS)
def test_times_within_ranges(fields: tuple[tuple[int, ...], ...], ranges: list[list[int]], second: int) -> None:
    pairs = [(start, end) for start, end in ranges]
    wanted = {one for one in expected(fields) if any(start <= one < end for start, end in pairs)}
    agree(times_of_day(*fields).within(pairs), wanted, second)


@given(st.dates(date(1969, 12, 1), date(9999, 12, 31)))
def test_days_and_months_are_numbered(day: date) -> None:
    number = (day - EPOCH).days
    month = month_of(number)
    assert month == day.year * 12 + day.month - 1
    assert date_of(number) == (day.year, day.month, day.day)
    assert weekday_of(number) == day.weekday()
    assert first_day(month) == number - day.day + 1
    length = first_day(month + 1) - first_day(month)
    assert all_days_in(month) == sum(1 << one for one in range(1, length + 1))
    first = day - timedelta(days=day.day - 1)
    assert kind_and_name(month) == (day.month - 1) * 28 + (length - 28) * 7 + first.weekday()
