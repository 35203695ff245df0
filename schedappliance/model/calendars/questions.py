"""The three questions that every set of due instants answers (first, last, how many), and the sets that are made of others.

Rule: instants are whole seconds since 1970. Each question takes a time that does not depend on the number of due times.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import or_
from typing import Protocol

from schedappliance.model.calendars.months import DAY_S
from schedappliance.model.calendars.pieces import END


class Questions(Protocol):
    """The questions that a set of instants answers."""

    def first_from(self, instant: int) -> int | None:
        """The first one at or after an instant; None: there is none."""

    def last_to(self, instant: int) -> int | None:
        """The last one at or before an instant; None: there is none."""

    def count(self, start: int, end: int) -> int:
        """How many there are from `start` to before `end`."""


class InstantSet(Questions, Protocol):
    """A set of instants that can be laid upon another one."""

    def seconds(self, start: int, end: int) -> int:
        """The instants from `start` to before `end`, at most some days later, as bits: bit k is `start + k`."""


class ZonedSet(InstantSet, Protocol):
    """A set of instants that a zone gives."""

    @property
    def is_daily(self) -> bool:
        """Whether all the seconds that `times_in_utc` gives are due, on each day."""

    def times_in_utc(self, instant: int) -> tuple[int, int]:
        """An end, and seconds of a day of UTC as bits: from `instant` to before the end, no other seconds are due."""


class Bounded:
    """The instants of a set from `first` to `last`, both included. None: no bound."""

    def __init__(self, due: InstantSet, first: int | None, last: int | None) -> None:
        self._due = due
        self._first = 0 if first is None else first
        self._last = last

    def first_from(self, instant: int) -> int | None:
        due = self._due.first_from(max(instant, self._first))
        return due if due is not None and (self._last is None or due <= self._last) else None

    def last_to(self, instant: int) -> int | None:
        due = self._due.last_to(instant if self._last is None else min(instant, self._last))
        return due if due is not None and due >= self._first else None

    def count(self, start: int, end: int) -> int:
        return self._due.count(max(start, self._first), end if self._last is None else min(end, self._last + 1))

    def seconds(self, start: int, end: int) -> int:
        low, high = max(start, self._first), end if self._last is None else min(end, self._last + 1)
        return self._due.seconds(low, high) << (low - start) if low < high else 0


class Joined:
    """The instants that are in at least one of the sets."""

    def __init__(self, sets: Sequence[ZonedSet]) -> None:
        self._sets = tuple(sets)

    def first_from(self, instant: int) -> int | None:
        dues = [due for one in self._sets if (due := one.first_from(instant)) is not None]
        return min(dues, default=None)

    def last_to(self, instant: int) -> int | None:
        dues = [due for one in self._sets if (due := one.last_to(instant)) is not None]
        return max(dues, default=None)

    def count(self, start: int, end: int) -> int:
        start, end, number = max(start, 0), min(end, END), 0
        while start < end:
            limits = [one.times_in_utc(start) for one in self._sets]
            stop = min(end, *(until for until, _ in limits))
            if _are_disjoint(times for _, times in limits):
                number += sum(one.count(start, stop) for one in self._sets)
            elif all(one.is_daily for one in self._sets):
                times = reduce(or_, (times for _, times in limits))
                number += _count_before(times, stop) - _count_before(times, start)
            else:
                # An instant that is due in two zones counts once, so the sets are laid one upon the other: 20 us for each day.
                days = range(start, stop, DAY_S)
                number += sum(self.seconds(day, min(day + DAY_S, stop)).bit_count() for day in days)
            start = stop
        return number

    def seconds(self, start: int, end: int) -> int:
        joined = 0
        for one in self._sets:
            joined |= one.seconds(start, end)
        return joined


def _count_before(times: int, instant: int) -> int:
    """How many instants there are from 1970 to before an instant, if these seconds of each day of UTC are due."""
    days, second = divmod(instant, DAY_S)
    return days * times.bit_count() + (times & ((1 << second) - 1)).bit_count()


def _are_disjoint(masks: Iterable[int]) -> bool:
    union = 0
    for mask in masks:
        if mask & union:
            return False
        union |= mask
    return True
