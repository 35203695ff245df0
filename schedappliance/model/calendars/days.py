"""Sets of days as a table of 28 months: each length (28 to 31 days) with each weekday of the first day.

Rule: a set never depends on the year. Years are a part of the expression.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

# Weekdays count from Monday 0 to Sunday 6, as in `datetime.date.weekday`.
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SHORT_WEEKDAYS = tuple(name[:3] for name in WEEKDAYS)
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
LENGTHS = (28, 29, 30, 31)
ALL_MONTHS = 0b1111111111110


@dataclass(frozen=True, slots=True)
class Days:
    """A set of days. `masks`: for each kind of month, as `months.kind_of_month` counts them, its days as bits 1 to 31."""

    masks: tuple[int, ...]

    def __and__(self, other: Days) -> Days:
        return Days(tuple(a & b for a, b in zip(self.masks, other.masks, strict=True)))

    def __or__(self, other: Days) -> Days:
        return Days(tuple(a | b for a, b in zip(self.masks, other.masks, strict=True)))

    def without(self, other: Days) -> Days:
        return Days(tuple(a & ~b for a, b in zip(self.masks, other.masks, strict=True)))


class Day(NamedTuple):
    """A day in some month: its number from 1, the length of the month, and the weekday."""

    number: int
    length: int
    weekday: int


def days_where(matches: Callable[[Day], bool]) -> Days:
    """The days that a predicate accepts."""
    kinds = [(length, first) for length in LENGTHS for first in range(7)]
    return Days(
        tuple(
            sum(1 << n for n in range(1, length + 1) if matches(Day(n, length, (first + n - 1) % 7)))
            for length, first in kinds
        )
    )


EVERY_DAY = days_where(lambda _: True)


@lru_cache(maxsize=1024)
def days_of_month(numbers: frozenset[int]) -> Days:
    """The days with these numbers, from 1."""
    return days_where(lambda day: day.number in numbers)


@lru_cache(maxsize=1024)
def days_from_end(numbers: frozenset[int]) -> Days:
    """The days counted from the end of the month: 1 is the last day."""
    return days_where(lambda day: day.length - day.number + 1 in numbers)


@lru_cache(maxsize=1024)
def weekdays(numbers: frozenset[int]) -> Days:
    """The days that are one of these weekdays, Monday 0 to Sunday 6."""
    return days_where(lambda day: day.weekday in numbers)


@lru_cache(maxsize=1024)
def nth_weekday(weekday: int, n: int) -> Days:
    """The nth such weekday of the month, from 1; -1 is the last one."""
    if n < 0:
        return days_where(lambda day: day.weekday == weekday and (day.length - day.number) // 7 == -n - 1)
    return days_where(lambda day: day.weekday == weekday and (day.number - 1) // 7 == n - 1)


@lru_cache(maxsize=1024)
def nearest_working_day(number: int | None) -> Days:
    """The day from Monday to Friday that is nearest to this day in the same month; None: to the last day of the month."""

    def matches(day: Day) -> bool:
        target = day.length if number is None else number
        return target <= day.length and day.number == _nearest(
            target, day.length, (day.weekday + target - day.number) % 7
        )

    return days_where(matches)


def _nearest(target: int, length: int, weekday: int) -> int:
    if weekday == 5:
        return target - 1 if target > 1 else target + 2
    if weekday == 6:
        return target + 1 if target < length else target - 2
    return target


def bits(mask: int) -> Iterator[int]:
    """The numbers of the bits that are set, in order."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest
