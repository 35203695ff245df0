"""The rules about days, one day after the other: what the masks of months must agree with. It shares no code with them.

Rule: days are `datetime.date`, and a set of days is a set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, timedelta
from itertools import groupby

ONE = timedelta(days=1)


def every_nth(days: Iterable[date], number: int, unit: str, start: date) -> set[date]:
    """The days in every nth day, week, month or year from the one that contains `start`."""
    return {day for day in days if _apart(day, unit, start) % number == 0}


def _apart(day: date, unit: str, start: date) -> int:
    if unit == "d":
        return (day - start).days
    if unit == "w":
        return (_monday(day) - _monday(start)).days // 7
    years = day.year - start.year
    return years if unit == "y" else years * 12 + day.month - start.month


def _monday(day: date) -> date:
    return day - day.weekday() * ONE


def moved(days: Iterable[date], left: Callable[[date], bool], direction: str | None, limit: int = 400) -> set[date]:
    """The days that are left, and for each other one the day to which it moves."""
    result = set()
    for day in days:
        if left(day):
            result.add(day)
        elif direction is not None and (target := _target(day, left, direction, limit)) is not None:
            result.add(target)
    return result


def _target(day: date, left: Callable[[date], bool], direction: str, limit: int) -> date | None:
    for distance in range(1, limit):
        later, earlier = day + distance * ONE, day - distance * ONE
        if direction in ("next", "nearest") and left(later):
            return later
        if direction in ("previous", "nearest") and left(earlier):
            return earlier
    return None


def nth_in_month(days: Iterable[date], positions: Iterable[int]) -> set[date]:
    """The days at these positions among those of their month."""
    result = set()
    for _, members in groupby(sorted(days), lambda day: (day.year, day.month)):
        month = list(members)
        result |= {month[n - 1 if n > 0 else n] for n in positions if 0 < abs(n) <= len(month)}
    return result
