"""A calendar: the due times that expressions, a zone and the options beside them give.

Rule: instants are milliseconds since 1970 at this edge, and whole seconds inside; a due time is a whole second.
"""

from __future__ import annotations

from schedappliance.model.calendars.clock_changes import FIXED, ROLLING, Instants
from schedappliance.model.calendars.day_sets import Pattern
from schedappliance.model.calendars.expression import Expression
from schedappliance.model.calendars.local_times import LocalTimes, Part
from schedappliance.model.calendars.times import times_of_day
from schedappliance.model.calendars.zones import Zones


class Calendar:
    """A schedule of due times in a zone."""

    def __init__(self, instants: Instants) -> None:
        self._instants = instants

    def next_after(self, instant_ms: int) -> int | None:
        """The first due time after an instant; None if there is none."""
        due = self._instants.first_from(instant_ms // 1000 + 1)
        return None if due is None else due * 1000

    def latest(self, instant_ms: int) -> int | None:
        """The last due time at or before an instant; None if there is none."""
        due = self._instants.last_to(instant_ms // 1000)
        return None if due is None else due * 1000

    def count(self, since_ms: int, until_ms: int) -> int:
        """How many due times there are from one instant to another, both included."""
        return self._instants.count(-(-since_ms // 1000), until_ms // 1000 + 1)


def part_of(expression: Expression) -> Part:
    """The days and times of an expression."""
    days = Pattern(expression.days, expression.months, expression.years)
    return Part(days, times_of_day(expression.hours, expression.minutes, expression.seconds))


def calendar_of(expression: Expression, zone: str, zones: Zones) -> Calendar:
    """The calendar of one expression. UnknownZone: its zone is not in the data."""
    rule = ROLLING if expression.rolling else FIXED
    return Calendar(Instants(zones.get(expression.zone or zone), LocalTimes([part_of(expression)]), rule))
