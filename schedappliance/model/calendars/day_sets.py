"""Sets of days, one month at a time, and the sets that are made of others.

Rule: a month's days are the bits 1 to 31 of an integer, so every rule is arithmetic with whole months.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce
from math import gcd, lcm
from operator import and_, or_
from typing import Literal, NamedTuple, Protocol

from schedappliance.model.calendars import all_years
from schedappliance.model.calendars.days import ALL_MONTHS, EVERY_DAY, Days, bits
from schedappliance.model.calendars.months import (
    CYCLE_DAYS,
    CYCLE_MONTHS,
    END_DAY,
    END_MONTH,
    FIRST_DAY,
    all_days_in,
    first_day,
    kind_and_name,
    month_of,
    weekday_of,
)

# A search asks so many months one by one, and then all years at once. Most calendars are due in the next five years.
NEAR_MONTHS = 60


class Extent(NamedTuple):
    """How far a set must be searched until it is known to be empty.

    `by_kind`: a month's days depend only on its name and its kind. From the month `since` on, the set repeats each `period`
    months. Before the month `start` and from the month `end` on it has no days.
    """

    by_kind: bool = False
    period: int = CYCLE_MONTHS
    since: int = 0
    start: int = 0
    end: int = END_MONTH


class DaySet(Protocol):
    """A set of days. Equal sets have equal hashes."""

    def __hash__(self) -> int: ...

    @property
    def extent(self) -> Extent: ...

    def days_in(self, month: int) -> int:
        """The days of the set in a month, as bits 1 to 31."""

    def days_in_all_years(self) -> int:
        """All days of the set, as `all_years` counts them."""


@lru_cache(maxsize=16)
def in_all_years(days: DaySet) -> int:
    """All days of a set. Jobs that are alike share them; a set takes 0.4 MB."""
    return days.days_in_all_years()


@dataclass(frozen=True, slots=True)
class Pattern:
    """The days of `days` in these months and years. `months`: bits 1 to 12; `years` None: all."""

    days: Days
    months: int
    years: frozenset[int] | None

    @property
    def extent(self) -> Extent:
        if self.years is None:
            return Extent(by_kind=True)
        end = (max(self.years, default=-1) + 1) * 12
        return Extent(since=end, start=min(self.years, default=0) * 12, end=end)

    def days_in(self, month: int) -> int:
        if self.years is not None and month // 12 not in self.years:
            return 0
        name, kind = divmod(kind_and_name(month), 28)
        return self.days.masks[kind] if self.months >> (name + 1) & 1 else 0

    @property
    def masks(self) -> list[int]:
        """The days of each name and kind of month, as `kind_and_name` counts them."""
        return [mask if self.months >> name & 1 else 0 for name in range(1, 13) for mask in self.days.masks]

    def days_in_all_years(self) -> int:
        days = all_years.by_kind(self.masks)
        return days if self.years is None else days & all_years.whole_years(self.years)


EVERY = Pattern(EVERY_DAY, ALL_MONTHS, None)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """The days that are in at least one of the sets."""

    sets: tuple[DaySet, ...]

    @property
    def extent(self) -> Extent:
        extents = [days.extent for days in self.sets]
        return _combined(extents, min((e.start for e in extents), default=0), max((e.end for e in extents), default=0))

    def days_in(self, month: int) -> int:
        days = 0
        for one in self.sets:
            days |= one.days_in(month)
        return days

    def days_in_all_years(self) -> int:
        return reduce(or_, map(in_all_years, self.sets), 0)


@dataclass(frozen=True, slots=True)
class AllOf:
    """The days that are in each of the sets."""

    sets: tuple[DaySet, ...]

    @property
    def extent(self) -> Extent:
        extents = [days.extent for days in self.sets]
        return _combined(extents, max(e.start for e in extents), min(e.end for e in extents))

    def days_in(self, month: int) -> int:
        days = all_days_in(month)
        for one in self.sets:
            days &= one.days_in(month)
        return days

    def days_in_all_years(self) -> int:
        return reduce(and_, map(in_all_years, self.sets))


@dataclass(frozen=True, slots=True)
class Without:
    """The days of a set that are not in another one."""

    days: DaySet
    excluded: DaySet

    @property
    def extent(self) -> Extent:
        days = self.days.extent
        return _combined((days, self.excluded.extent), days.start, days.end)

    def days_in(self, month: int) -> int:
        return self.days.days_in(month) & ~self.excluded.days_in(month)

    def days_in_all_years(self) -> int:
        return all_years.without(in_all_years(self.days), in_all_years(self.excluded))


def _combined(extents: Sequence[Extent], start: int, end: int) -> Extent:
    by_kind, period = all(e.by_kind for e in extents), lcm(*(e.period for e in extents))
    return Extent(by_kind, period, max((e.since for e in extents), default=0), start, end)


Unit = Literal["d", "w", "mo", "y"]
# How many days, weeks, months and years the Gregorian calendar has until it repeats.
_IN_CYCLE: dict[Unit, int] = {"d": CYCLE_DAYS, "w": CYCLE_DAYS // 7, "mo": CYCLE_MONTHS, "y": CYCLE_MONTHS // 12}


@dataclass(frozen=True)
class Each:
    """Every nth day, week (from Monday), month or year, counted from the one that contains the day `start`."""

    number: int
    unit: Unit
    start: int

    @property
    def extent(self) -> Extent:
        return Extent(period=CYCLE_MONTHS * (self.number // gcd(self.number, _IN_CYCLE[self.unit])))

    def days_in(self, month: int) -> int:
        if self.unit in ("d", "w"):
            first, step, comb = self._comb
            return comb >> (first_day(month) - first) % step << 1 & all_days_in(month)
        first, step, length = self._months
        return all_days_in(month) if (month - first) % step < length else 0

    def days_in_all_years(self) -> int:
        if self.unit in ("d", "w"):
            first, step, comb = self._comb
            return all_years.each_step(comb & (1 << step) - 1, first, step)
        return all_years.whole_months(*self._months)

    @cached_property
    def _comb(self) -> tuple[int, int, int]:
        """The first day, the step, and one step and 31 more days as bits, so that a shift gives the days of any month."""
        first, step, run = self.start, self.number, 1
        if self.unit == "w":
            first, step, run = first - weekday_of(first), 7 * step, 0b1111111
        return first, step, sum(run << day for day in range(0, step + 31, step))

    @cached_property
    def _months(self) -> tuple[int, int, int]:
        """The first month, the step, and how many months there are at each step."""
        month = month_of(self.start)
        return (month, self.number, 1) if self.unit == "mo" else (month - month % 12, 12 * self.number, 12)


@dataclass(frozen=True, slots=True)
class Nth:
    """The days of a set at these positions in each month: 1 is the first one, -1 the last one."""

    days: DaySet
    positions: frozenset[int]

    @property
    def extent(self) -> Extent:
        return self.days.extent

    def days_in(self, month: int) -> int:
        days = tuple(bits(self.days.days_in(month)))
        return sum(1 << days[n - (n > 0)] for n in self._positions_of(len(days)))

    def days_in_all_years(self) -> int:
        return all_years.at_positions(in_all_years(self.days), self.positions)

    def _positions_of(self, length: int) -> set[int]:
        """The positions that exist, each written once: with 3 days, -1 and 3 are the same."""
        return {n if n > 0 else length + 1 + n for n in self.positions if 0 < abs(n) <= length}


class DaySearch:
    """A set of days that is searched beyond the month: the first day from, and the last day to."""

    def __init__(self, days: DaySet) -> None:
        self.extent = days.extent
        # The search for a day asks for the same few months again and again.
        self.days_in = lru_cache(maxsize=64)(days.days_in)
        self._days = days

    def first_from(self, day: int, end: int = END_DAY) -> int | None:
        """The first day of the set at or after a day, and before `end`."""
        month = month_of(day)
        days = self.days_in(month) & (-1 << (day - first_day(month) + 1))
        far = max(month, self.extent.start) + NEAR_MONTHS
        while not days:
            month = max(month + 1, self.extent.start)
            if month >= self.extent.end or first_day(month) >= end:
                return None
            if month > far:
                first = all_years.first_from(in_all_years(self._days), first_day(month))
                return first if first is not None and first < end else None
            days = self.days_in(month)
        first = first_day(month) + (days & -days).bit_length() - 2
        return first if first < end else None

    def last_to(self, day: int, start: int = FIRST_DAY) -> int | None:
        """The last day of the set at or before a day, and not before `start`."""
        month = month_of(day)
        days = self.days_in(month) & ((2 << (day - first_day(month) + 1)) - 1)
        far = min(month, self.extent.end) - NEAR_MONTHS
        while not days:
            month = min(month, self.extent.end) - 1
            if month < self.extent.start or first_day(month + 1) <= start:
                return None
            if month < far:
                last = all_years.last_before(in_all_years(self._days), first_day(month + 1))
                return last if last is not None and last >= start else None
            days = self.days_in(month)
        last = first_day(month) + days.bit_length() - 2
        return last if last >= start else None
