"""The option `move`: a due day that is taken out moves to the next, the previous or the nearest day that is left.

Rule: a month is decided from the days that are left: does one of them take in a day that was taken out beside it?
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from math import lcm
from typing import Literal

from schedappliance.model.calendars import all_years
from schedappliance.model.calendars.day_sets import DaySearch, DaySet, Extent, in_all_years
from schedappliance.model.calendars.days import bits
from schedappliance.model.calendars.months import (
    END_DAY,
    END_MONTH,
    FIRST_DAY,
    FIRST_MONTH,
    MOST_MONTHS,
    first_day,
    month_of,
)

Direction = Literal["next", "previous", "nearest"]


@lru_cache(maxsize=4)
def _nearer_to_next(left: DaySet) -> int:
    """The days that `nearest` moves forward, the same ones for all expressions of a job: 10 to 60 ms."""
    return all_years.nearer_to_next(in_all_years(left))


class Moved:
    """The days of `due` that are in `left`, and for each other day of `due` the day of `left` beside it.

    `nearest` takes the later one of two days that are equally near. A day without a day to move to is dropped.
    """

    def __init__(self, due: DaySet, left: DaySet, direction: Direction) -> None:
        self._sets = due, left
        self._due, self._left, self._direction = DaySearch(due), DaySearch(left), direction
        self._months: dict[int, int] = {}

    @cached_property
    def extent(self) -> Extent:
        due, left = self._due.extent, self._left.extent
        since, end = self._end_of_moves(max(due.since, left.since)), self._end_of_moves(due.end)
        start = max(left.start, self._start_of_moves(due.start))
        return Extent(period=lcm(due.period, left.period), since=since, start=start, end=min(left.end, end))

    def _start_of_moves(self, month: int) -> int:
        """The last month before which no day of `month` or a later one can be due."""
        if month <= FIRST_MONTH:
            return month
        earlier = self._left.last_to(first_day(month) - 1)
        return month if earlier is None else month_of(earlier)

    def _end_of_moves(self, month: int) -> int:
        """The first month from which on no day of an earlier month than `month` can be due."""
        if month <= FIRST_MONTH or month >= END_MONTH:
            return month
        following = self._left.first_from(first_day(month))
        return month if following is None else month_of(following) + 1

    def days_in_all_years(self) -> int:
        due, left = map(in_all_years, self._sets)
        moving, stay = all_years.without(due, left), due & left
        if self._direction == "nearest":
            forward = moving & _nearer_to_next(self._sets[1])
            return stay | all_years.moved_forward(forward, left) | all_years.moved_back(moving ^ forward, left)
        move = all_years.moved_forward if self._direction == "next" else all_years.moved_back
        return stay | move(moving, left)

    def days_in(self, month: int) -> int:
        days = self._months.get(month)
        if days is None:
            if len(self._months) >= MOST_MONTHS:
                self._months.clear()
            days = self._months[month] = self._decide(month)
        return days

    def _decide(self, month: int) -> int:
        left, due = self._left.days_in(month), self._due.days_in(month)
        days = due & left
        # If no day of this month is taken out, those of other months move to the first or the last day that is left here.
        at_edges = left & ~(left << 1 & left >> 1) if due & ~left else left & -left | 1 << left.bit_length() >> 1
        for number in bits(at_edges & ~days):
            if self._taken_in_by(first_day(month) + number - 1) is not None:
                days |= 1 << number
        return days

    def moved_from(self, day: int) -> int | None:
        """The day that was moved to this due day; None: it was due by itself."""
        month = month_of(day)
        by_itself = self._due.days_in(month) >> (day - first_day(month) + 1) & 1
        return None if by_itself else self._taken_in_by(day)

    def _taken_in_by(self, day: int) -> int | None:
        """The nearest day that moves to a day that is left; None: none does."""
        before = self._before(day) if self._direction != "previous" else None
        after = self._after(day) if self._direction != "next" else None
        if before is None or after is None:
            return after if before is None else before
        return before if day - before <= after - day else after

    def _before(self, day: int) -> int | None:
        """The last due day that was taken out directly before a day that is left, if it moves forward to that day."""
        neighbour = self._left.last_to(day - 1, FIRST_DAY)
        due = self._due.last_to(day - 1, FIRST_DAY if neighbour is None else neighbour + 1)
        if due is None or neighbour is None or self._direction == "next":
            return due
        return due if day - due <= due - neighbour else None

    def _after(self, day: int) -> int | None:
        """The first due day that was taken out directly after a day that is left, if it moves back to that day."""
        neighbour = self._left.first_from(day + 1, END_DAY)
        due = self._due.first_from(day + 1, END_DAY if neighbour is None else neighbour)
        if due is None or neighbour is None or self._direction == "previous":
            return due
        return due if due - day < neighbour - due else None
