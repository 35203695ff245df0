"""A calendar: the due times that expressions, a zone and the options beside them give.

Rule: instants are milliseconds since 1970 at this edge, and whole seconds inside; a due time is a whole second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from schedappliance.model.calendars.clock_changes import Change
from schedappliance.model.calendars.day_lists import DayLists
from schedappliance.model.calendars.delays import Delays, Jitter, Spread, delay_below
from schedappliance.model.calendars.months import DAY_S
from schedappliance.model.calendars.moves import Moved
from schedappliance.model.calendars.pieces import Zone
from schedappliance.model.calendars.questions import InstantSet, Questions


@dataclass(frozen=True, slots=True)
class DueTime:
    """A due time, and what is special about it.

    `local`: the local time of the calendar in seconds since 1970-01-01 00:00, before any delay. `change`: what a clock
    change did to it. `spread`, `jitter`: its delays in seconds. `moved_from`: the day since 1970 from which it was moved.
    `ended`: the lists of dates whose last day is before it, with that day. Later dates may be missing there.
    """

    due_ms: int
    zone: Zone
    local: int
    change: Change | None
    spread: int
    jitter: int
    moved_from: int | None
    ended: tuple[tuple[str, int], ...] = ()


class LocalInstants(InstantSet, Protocol):
    """A set of instants of a zone."""

    def local_time_of(self, instant: int) -> tuple[int, Change | None] | None:
        """The local time that is due at an instant, and what a clock change did to it; None: nothing is due."""


class Group(NamedTuple):
    """The expressions of a calendar that have one zone and one rule for clock changes."""

    zone: Zone
    instants: LocalInstants
    moves: tuple[Moved, ...]


class Calendar:
    """A schedule of due times: it answers the questions of `Schedule`.

    `nominal`: the due times before any delay. `spread` and `jitter`: limits of delays in seconds, made from `seed`.
    `lists`: the lists of dates that decide its days.
    """

    def __init__(
        self, groups: tuple[Group, ...], nominal: Questions, spread: int, jitter: int, seed: str, lists: DayLists
    ) -> None:
        self._groups, self._lists = groups, lists
        self._delays: list[Delays] = []
        self._nominal = self._due = nominal
        if spread:
            self._delay(Spread(self._due, delay_below(spread, seed)))
        if jitter:
            self._delay(Jitter(self._due, jitter, seed))

    def _delay(self, delayed: Delays) -> None:
        self._delays.append(delayed)
        self._due = delayed

    def next_after(self, instant_ms: int) -> int | None:
        """The first due time after an instant; None if there is none."""
        due = self._due.first_from(instant_ms // 1000 + 1)
        return None if due is None else due * 1000

    def latest(self, instant_ms: int) -> int | None:
        """The last due time at or before an instant; None if there is none."""
        due = self._due.last_to(instant_ms // 1000)
        return None if due is None else due * 1000

    def count(self, since_ms: int, until_ms: int) -> int:
        """How many due times there are from one instant to another, both included."""
        return self._due.count(-(-since_ms // 1000), until_ms // 1000 + 1)

    def nominal(self, due_ms: int) -> int:
        """A due time before any delay. An instant that is not due stays as it is."""
        instant = due_ms // 1000
        if self._due.first_from(instant) == instant:
            for delayed in reversed(self._delays):
                instant = delayed.origin_of(instant)
        return instant * 1000

    def next_after_nominal(self, instant_ms: int) -> int | None:
        """The first due time that is after an instant before any delay; None if there is none."""
        due = self._nominal.first_from(instant_ms // 1000 + 1)
        if due is None:
            return None
        for delayed in self._delays:
            due = delayed.delayed(due)
        return due * 1000

    def explain(self, due_ms: int) -> DueTime | None:
        """What is special about a due time; None if it is not one of this calendar."""
        instant = due_ms // 1000
        if self._due.first_from(instant) != instant:
            return None
        delays = {Spread: 0, Jitter: 0}
        for delayed in reversed(self._delays):
            origin = delayed.origin_of(instant)
            delays[type(delayed)], instant = instant - origin, origin
        for group in self._groups:
            if (explained := group.instants.local_time_of(instant)) is not None:
                local, change = explained
                days = (move.moved_from(local // DAY_S) for move in group.moves)
                moved_from = next((day for day in days if day is not None), None)
                ended = self._ended(local // DAY_S)
                return DueTime(due_ms, group.zone, local, change, delays[Spread], delays[Jitter], moved_from, ended)
        return None

    def _ended(self, day: int) -> tuple[tuple[str, int], ...]:
        """The lists whose last day is before a day, with that day."""
        ends = ((name, dates.end) for name, dates in self._lists.items())
        return tuple((name, end) for name, end in ends if end is not None and end < day)
