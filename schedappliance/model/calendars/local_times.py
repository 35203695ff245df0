"""A set of local times, and three questions about it: the first time from, the last time to, how many between.

Rule: local times are seconds since 1970-01-01 00:00 on the clock of the zone, as if the clock were never changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from schedappliance.model.calendars import all_years
from schedappliance.model.calendars.day_sets import EVERY, NEAR_MONTHS, AllOf, AnyOf, DaySet, Pattern, in_all_years
from schedappliance.model.calendars.days import ALL_MONTHS, weekdays
from schedappliance.model.calendars.months import (
    CYCLE_DAYS,
    CYCLE_MONTHS,
    DAY_S,
    FIRST_MONTH,
    MOST_MONTHS,
    all_days_in,
    first_day,
    kind_and_name,
    month_of,
    weekday_of,
)
from schedappliance.model.calendars.times import NO_TIMES, Times, union


class Part(NamedTuple):
    """Days, and the times of day that are due on them: on all days the same, or for each weekday from Monday."""

    days: DaySet
    times: tuple[Times, ...]


class Month(NamedTuple):
    """The due days of one month, all together as bits 1 to 31, and in groups that have the same times."""

    days: int
    groups: tuple[tuple[int, Times], ...]
    total: int

    def times_on(self, number: int) -> Times:
        """The times of a day of the month."""
        for days, times in self.groups:
            if days >> number & 1:
                return times
        return NO_TIMES

    def count(self, days: int) -> int:
        """How many times there are on these days."""
        return sum((group & days).bit_count() * times.total for group, times in self.groups)


class _Place(NamedTuple):
    """A month in the calendar: the days since 1970 from `first` to before `end`."""

    first: int
    end: int
    number: int
    month: Month


class LocalTimes:
    """The union of parts."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = tuple(parts)
        self._days = AnyOf(tuple(_days_with_times(part) for part in parts))
        self._extent = self._days.extent
        self._months: dict[int, Month] = {}
        # How many months a search asks one by one. If none of them has days, later searches ask all years at once.
        self._near = NEAR_MONTHS
        self._recent = _Place(0, 0, 0, Month(0, (), 0))

    def end_of_search(self, second: int) -> int:
        """The local second at which a search has seen the whole set, with everything that repeats after 400 years."""
        cycles = self._extent.period // CYCLE_MONTHS
        return max(second, first_day(self._extent.since) * DAY_S) + cycles * CYCLE_DAYS * DAY_S

    def first_from(self, second: int) -> int | None:
        """The first time at or after a local second; None: there is none before the year 10000."""
        day, second_of_day = divmod(second, DAY_S)
        first, _, number, month = self._place(day)
        later = month.days >> (day - first + 1)
        if later & 1:
            later -= 1
            time = month.times_on(day - first + 1).first_from(second_of_day)
            if time is not None:
                return day * DAY_S + time
        if later:
            day += (later & -later).bit_length() - 1
        else:
            following = self._month_with_days(number + 1)
            if following is None:
                return None
            month, first = self._month(following), first_day(following)
            day = first + (month.days & -month.days).bit_length() - 2
        return day * DAY_S + month.times_on(day - first + 1).first

    def last_to(self, second: int) -> int | None:
        """The last time at or before a local second; None: there is none since 1970."""
        day, second_of_day = divmod(second, DAY_S)
        first, _, number, month = self._place(day)
        bit = 1 << (day - first + 1)
        if month.days & bit:
            time = month.times_on(day - first + 1).last_to(second_of_day)
            if time is not None:
                return day * DAY_S + time
        earlier = month.days & (bit - 1)
        if not earlier:
            preceding = self._earlier_month_with_days(number - 1)
            if preceding is None:
                return None
            number, month = preceding, self._month(preceding)
            earlier = month.days
        last = earlier.bit_length() - 1
        return (first_day(number) + last - 1) * DAY_S + month.times_on(last).last

    def count(self, start: int, end: int) -> int:
        """How many times there are from a local second to before another one."""
        if end <= start:
            return 0
        (first, before_start), (last, before_end) = divmod(start, DAY_S), divmod(end, DAY_S)
        return (
            self._count_days(first, last)
            + self._count_before(last, before_end)
            - self._count_before(first, before_start)
        )

    def seconds(self, start: int, end: int) -> int:
        """The times from a local second to before another one, at most some days later, as bits: bit k is `start + k`."""
        if end <= start:
            return 0
        seconds, first = 0, start // DAY_S
        for day in range(first, (end - 1) // DAY_S + 1):
            seconds |= self._times_on(day).each_second() << (day - first) * DAY_S
        return seconds >> (start - first * DAY_S) & ((1 << (end - start)) - 1)

    @property
    def is_daily(self) -> bool:
        """Whether each day has the same times."""
        return all(part.days == EVERY and len(part.times) == 1 for part in self._parts)

    def times_of_day(self) -> int:
        """The times that any day can have, with one bit for each second of the day."""
        seconds = 0
        for part in self._parts:
            for times in part.times:
                seconds |= times.each_second()
        return seconds

    def _times_on(self, day: int) -> Times:
        place = self._place(day)
        return place.month.times_on(day - place.first + 1)

    def _count_before(self, day: int, second: int) -> int:
        """How many times a day has before a second of the day."""
        return self._times_on(day).count_before(second) if second else 0

    def _count_days(self, first: int, end: int) -> int:
        """How many times there are from a day to before another one."""
        start, stop = self._place(first), self._place(end)
        from_first, before_end = -1 << (first - start.first + 1), (1 << (end - stop.first + 1)) - 1
        if start.number == stop.number:
            return start.month.count(from_first & before_end)
        whole = sum(self._month(number).total for number in range(start.number + 1, stop.number))
        return start.month.count(from_first) + whole + stop.month.count(before_end)

    def _month_with_days(self, number: int) -> int | None:
        """The first month from this one on that has due days; None: no later month has any."""
        number = max(number, self._extent.start)
        far = min(number + self._near, self._extent.end)
        for near in range(number, far):
            if self._month(near).days:
                return near
        if far == self._extent.end:
            return None
        self._near = 1
        first = all_years.first_from(in_all_years(self._days), first_day(far))
        return None if first is None else month_of(first)

    def _earlier_month_with_days(self, number: int) -> int | None:
        """The last month up to this one that has due days; None: no month since 1970 has any."""
        number, start = min(number, self._extent.end - 1), max(self._extent.start, FIRST_MONTH)
        far = max(number - self._near, start - 1)
        for near in range(number, far, -1):
            if self._month(near).days:
                return near
        if far < start:
            return None
        self._near = 1
        last = all_years.last_before(in_all_years(self._days), first_day(far + 1))
        return None if last is None else month_of(last)

    def _place(self, day: int) -> _Place:
        """The month of a day. The last one is kept, since most questions are about the same month as the one before."""
        place = self._recent
        if not place.first <= day < place.end:
            number = month_of(day)
            place = self._recent = _Place(first_day(number), first_day(number + 1), number, self._month(number))
        return place

    def _month(self, number: int) -> Month:
        # Months that are alike share one entry, so the memory stays small: 12 names times 28 kinds.
        key = kind_and_name(number) if self._extent.by_kind else number
        month = self._months.get(key)
        if month is None:
            # Only sets that depend on the year reach it.
            if len(self._months) >= MOST_MONTHS:
                self._months.clear()
            month = self._months[key] = _month_of(self._parts, number)
        return month


def _days_with_times(part: Part) -> DaySet:
    if len(part.times) == 1:
        return part.days
    open_days = frozenset(weekday for weekday, times in enumerate(part.times) if times.total)
    return AllOf((part.days, Pattern(weekdays(open_days), ALL_MONTHS, None)))


def _month_of(parts: Sequence[Part], month: int) -> Month:
    groups: list[tuple[int, Times]] = []
    for part in parts:
        for matching, times in _by_weekday(part.times, month):
            if times.total:
                groups = _with(groups, part.days.days_in(month) & matching, times)
    days = 0
    for group, _ in groups:
        days |= group
    return Month(days, tuple(groups), sum(group.bit_count() * times.total for group, times in groups))


def _by_weekday(times: tuple[Times, ...], month: int) -> Iterator[tuple[int, Times]]:
    """The days of a month that have the same times of day."""
    if len(times) == 1:
        yield all_days_in(month), times[0]
        return
    first = weekday_of(first_day(month))
    for weekday, on_weekday in enumerate(times):
        yield sum(1 << number for number in range((weekday - first) % 7 + 1, 32, 7)), on_weekday


def _with(groups: list[tuple[int, Times]], days: int, times: Times) -> list[tuple[int, Times]]:
    """The groups after these days got these times in addition."""
    divided: list[tuple[int, Times]] = []
    for group, known in groups:
        if both := group & days:
            divided.append((both, union(known, times)))
        if only := group & ~days:
            divided.append((only, known))
        days &= ~group
    return [*divided, (days, times)] if days else divided
