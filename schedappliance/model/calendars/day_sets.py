"""Sets of days, one month at a time, and the sets that are made of others.

Rule: a month's days are the bits 1 to 31 of an integer, so every rule is arithmetic with whole months.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import gcd, lcm
from typing import Literal, NamedTuple, Protocol

from schedappliance.model.calendars.days import ALL_MONTHS, EVERY_DAY, Days, bits
from schedappliance.model.calendars.months import (
    CYCLE_DAYS,
    CYCLE_MONTHS,
    END_MONTH,
    all_days_in,
    first_day,
    kind_and_name,
    month_of,
    weekday_of,
)


class Extent(NamedTuple):
    """How far a set must be searched until it is known to be empty.

    `by_kind`: a month's days depend only on its name and its kind. From the month `since` on, the set repeats each `period`
    months, and from the month `end` on it has no days.
    """

    by_kind: bool = False
    period: int = CYCLE_MONTHS
    since: int = 0
    end: int = END_MONTH

    def end_of_search(self, month: int) -> int:
        """If there are no days from `month` to before this one, there are none after it."""
        return min(self.end, max(month, self.since) + self.period, END_MONTH)


class DaySet(Protocol):
    """A set of days."""

    @property
    def extent(self) -> Extent: ...

    def days_in(self, month: int) -> int:
        """The days of the set in a month, as bits 1 to 31."""


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
        return Extent(since=end, end=end)

    def days_in(self, month: int) -> int:
        if self.years is not None and month // 12 not in self.years:
            return 0
        name, kind = divmod(kind_and_name(month), 28)
        return self.days.masks[kind] if self.months >> (name + 1) & 1 else 0


EVERY = Pattern(EVERY_DAY, ALL_MONTHS, None)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """The days that are in at least one of the sets."""

    sets: tuple[DaySet, ...]

    @property
    def extent(self) -> Extent:
        return _combined(self.sets, max((days.extent.end for days in self.sets), default=0))

    def days_in(self, month: int) -> int:
        days = 0
        for one in self.sets:
            days |= one.days_in(month)
        return days


@dataclass(frozen=True, slots=True)
class AllOf:
    """The days that are in each of the sets."""

    sets: tuple[DaySet, ...]

    @property
    def extent(self) -> Extent:
        return _combined(self.sets, min((days.extent.end for days in self.sets), default=END_MONTH))

    def days_in(self, month: int) -> int:
        days = all_days_in(month)
        for one in self.sets:
            days &= one.days_in(month)
        return days


@dataclass(frozen=True, slots=True)
class Without:
    """The days of a set that are not in another one."""

    days: DaySet
    excluded: DaySet

    @property
    def extent(self) -> Extent:
        return _combined((self.days, self.excluded), self.days.extent.end)

    def days_in(self, month: int) -> int:
        return self.days.days_in(month) & ~self.excluded.days_in(month)


def possible_months(days: DaySet, start: int, end: int) -> Iterable[int]:
    """The months from `start` to before `end` that can have days of a set, in order. A search need not ask the others."""
    if isinstance(days, AllOf) and days.sets:
        return possible_months(min(days.sets, key=_rarity), start, end)
    if isinstance(days, Without | Nth):
        return possible_months(days.days, start, end)
    if not isinstance(days, Pattern):
        return range(start, end)
    if days.years is None:
        cycles = range(start // CYCLE_MONTHS, -(-end // CYCLE_MONTHS))
        months = (cycle * CYCLE_MONTHS + month for cycle in cycles for month in _months_in_cycle(days))
    else:
        months = (year * 12 + month for year in sorted(days.years) for month in range(12))
    return (month for month in months if start <= month < end and days.days_in(month))


def _rarity(days: DaySet) -> int:
    """Which set of several leaves the fewest months to ask: one of some years, then one that depends on no year."""
    if not isinstance(days, Pattern):
        return 2
    return 1 if days.years is None else 0


@lru_cache(maxsize=256)
def _months_in_cycle(pattern: Pattern) -> tuple[int, ...]:
    return tuple(month for month in range(CYCLE_MONTHS) if pattern.days_in(month))


def _combined(sets: tuple[DaySet, ...], end: int) -> Extent:
    extents = [days.extent for days in sets]
    by_kind, period = all(e.by_kind for e in extents), lcm(*(e.period for e in extents))
    return Extent(by_kind, period, max((e.since for e in extents), default=0), end)


Unit = Literal["d", "w", "mo", "y"]
# How many days, weeks, months and years the Gregorian calendar has until it repeats.
_IN_CYCLE: dict[Unit, int] = {"d": CYCLE_DAYS, "w": CYCLE_DAYS // 7, "mo": CYCLE_MONTHS, "y": CYCLE_MONTHS // 12}


class Each:
    """Every nth day, week (from Monday), month or year, counted from the one that contains the day `start`."""

    def __init__(self, number: int, unit: Unit, start: int) -> None:
        self._number, self._unit = number, unit
        self._month = month_of(start)
        self.extent = Extent(period=CYCLE_MONTHS * (number // gcd(number, _IN_CYCLE[unit])))
        if unit in ("d", "w"):
            run, self._step = (1, number) if unit == "d" else (0b1111111, 7 * number)
            self._first = start if unit == "d" else start - weekday_of(start)
            # One step and 31 more days, so that a shift gives the days of any month.
            self._comb = sum(run << day for day in range(0, self._step + 31, self._step))

    def days_in(self, month: int) -> int:
        if self._unit == "y":
            return all_days_in(month) if (month // 12 - self._month // 12) % self._number == 0 else 0
        if self._unit == "mo":
            return all_days_in(month) if (month - self._month) % self._number == 0 else 0
        return self._comb >> (first_day(month) - self._first) % self._step << 1 & all_days_in(month)


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

    def _positions_of(self, length: int) -> set[int]:
        """The positions that exist, each written once: with 3 days, -1 and 3 are the same."""
        return {n if n > 0 else length + 1 + n for n in self.positions if 0 < abs(n) <= length}


class DaySearch:
    """A set of days that is searched beyond the month: the first day from, and the last day to."""

    def __init__(self, days: DaySet) -> None:
        self.extent = days.extent
        # The search for a day asks for the same few months again and again.
        self.days_in = lru_cache(maxsize=64)(days.days_in)
        # From this month on, the set is known to be empty.
        self._empty_from = END_MONTH

    def first_from(self, day: int, end: int) -> int | None:
        """The first day of the set at or after a day, and before `end`."""
        month = month_of(day)
        days = self.days_in(month) & (-1 << (day - first_day(month) + 1))
        limit = min(self._empty_from, self.extent.end_of_search(month + 1))
        while not days:
            month += 1
            if month >= limit:
                self._empty_from = min(self._empty_from, month_of(day) + 1)
                return None
            if first_day(month) >= end:
                return None
            days = self.days_in(month)
        first = first_day(month) + (days & -days).bit_length() - 2
        return first if first < end else None

    def last_to(self, day: int, start: int) -> int | None:
        """The last day of the set at or before a day, and not before `start`."""
        month = month_of(day)
        days = self.days_in(month) & ((2 << (day - first_day(month) + 1)) - 1)
        while not days:
            if first_day(month) <= start:
                return None
            month -= 1
            days = self.days_in(month)
        last = first_day(month) + days.bit_length() - 2
        return last if last >= start else None
