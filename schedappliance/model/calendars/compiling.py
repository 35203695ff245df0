"""Makes the calendar of a rule, in the order in which the options apply.

Rule: expressions; then `each`; then `only` and `except` with `move`; then `nth`; then `within`; then the zone; then `from`
and `until`; then the delays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from schedappliance.model.calendars.calendar import Calendar, Group
from schedappliance.model.calendars.clock_changes import ClockRule, DaysInZone, Instants
from schedappliance.model.calendars.day_lists import DayLists
from schedappliance.model.calendars.day_sets import EVERY, AllOf, AnyOf, DaySet, Each, Nth, Pattern, Without
from schedappliance.model.calendars.every_within import EveryInstants, OpenTimes
from schedappliance.model.calendars.expression import Expression
from schedappliance.model.calendars.local_times import LocalTimes, Part
from schedappliance.model.calendars.months import DAY_S
from schedappliance.model.calendars.moves import Moved
from schedappliance.model.calendars.oncalendar import read_window
from schedappliance.model.calendars.pieces import Zone
from schedappliance.model.calendars.questions import Bounded, InstantSet, Joined
from schedappliance.model.calendars.rule import CalendarRule, read_rule
from schedappliance.model.calendars.times import Times, times_of_day
from schedappliance.model.calendars.windows import ranges_by_weekday
from schedappliance.model.calendars.zones import Zones

# 1,000,000 jobs have far fewer texts: there are 1,440 minutes in a day.
MAX_CALENDARS = 65_536


class Calendars:
    """The calendars of one generation by their texts: each is made once. `zone`: that of `sched`."""

    def __init__(self, zones: Zones, days: DayLists, zone: str | None = None) -> None:
        self.zones = zones
        self._zone = zone
        self._days = DueDays(days)
        self._calendars: dict[str, Calendar] = {}

    def get(self, text: str) -> Calendar:
        """The calendar with the text of a `CalendarRule`. Raises UnknownZone, and an error of UNREADABLE."""
        calendar = self._calendars.get(text)
        if calendar is None:
            if len(self._calendars) >= MAX_CALENDARS:
                self._calendars.clear()
                self._days = DueDays(self._days.lists)
            rule = read_rule(text)
            calendar = self._calendars[text] = _compiled(
                rule, rule.read_expressions(), self.zones, self._days, self._zone
            )
        return calendar

    def endless(self, text: str) -> Calendar:
        """The same calendar without what can end it: `until`, years, and the lists of `only`, which may have dates."""
        rule = replace(read_rule(text), until_ms=None, until_day=None, only=())
        expressions = [replace(expression, years=None) for expression in rule.read_expressions()]
        return _compiled(rule, expressions, self.zones, self._days, self._zone)


class DueDays:
    """The due days of expressions, after all rules for single expressions.

    Moves take the longest to search, so all expressions whose days are moved alike share them, whatever their times.
    """

    def __init__(self, lists: DayLists) -> None:
        self.lists = lists
        self._moved: dict[tuple[object, ...], Moved] = {}

    def of(self, rule: CalendarRule, expression: Expression, zone: Zone) -> DaySet:
        pattern = Pattern(expression.days, expression.months, expression.years)
        due: DaySet = pattern
        first_day = None
        if rule.each is not None:
            number, unit = rule.each
            # 1970-01-01 in every zone, also where the instant 0 belongs to the day before.
            first_day = rule.from_day or 0
            if rule.from_ms is not None:
                start = rule.from_ms // 1000
                first_day = (start + zone.offset_at(start)) // DAY_S
            due = AllOf((due, Each(number, unit, first_day)))
        if not rule.only and not rule.excluded:
            return due
        left: DaySet = self._listed(rule.only) if rule.only else EVERY
        if rule.excluded:
            left = Without(left, self._listed(rule.excluded))
        if rule.move is None:
            return AllOf((due, left))
        alike = (pattern, rule.each, first_day, rule.only, rule.excluded, rule.move)
        return self._moved.setdefault(alike, Moved(due, left, rule.move))

    def _listed(self, names: Sequence[str]) -> DaySet:
        """The days that are in at least one of the lists."""
        sets = tuple(self.lists[name].days for name in names)
        return sets[0] if len(sets) == 1 else AnyOf(sets)


def calendar_of(rule: CalendarRule, zones: Zones, days: DayLists, zone: str | None = None) -> Calendar:
    """The calendar of a rule. `zone`: that of `sched`, in which the times of a rule without a zone are shown.

    Raises UnknownZone, InvalidValue for an invalid expression, and KeyError for an unknown list of days.
    """
    return _compiled(rule, rule.read_expressions(), zones, DueDays(days), zone)


def calendar_of_expression(expression: Expression, zone: str, zones: Zones) -> Calendar:
    """The calendar of one expression alone. `zone`: for an expression without a zone inside. Raises UnknownZone."""
    return _compiled(CalendarRule(syntax="cron", expressions=(), zone=zone), [expression], zones, DueDays({}), zone)


def _compiled(
    rule: CalendarRule, expressions: Sequence[Expression], zones: Zones, days: DueDays, shown_in: str | None
) -> Calendar:
    groups = _groups(rule, expressions, zones, days) if rule.needs_zone else _interval(rule, zones.to_show(shown_in))
    # Only expressions make several groups, one for each zone.
    zoned = [group.instants for group in groups if isinstance(group.instants, Instants | DaysInZone)]
    nominal: InstantSet = groups[0].instants if len(groups) == 1 else Joined(zoned)
    if rule.from_ms is not None or rule.until_ms is not None:
        first = None if rule.from_ms is None else -(-rule.from_ms // 1000)
        nominal = Bounded(nominal, first, None if rule.until_ms is None else rule.until_ms // 1000)
    lists = {name: days.lists[name] for name in (*rule.only, *rule.excluded)}
    return Calendar(groups, nominal, rule.spread, rule.jitter, rule.seed, lists)


def _groups(rule: CalendarRule, expressions: Sequence[Expression], zones: Zones, days: DueDays) -> tuple[Group, ...]:
    if rule.every:
        return _interval(rule, zones.get(rule.zone or ""))
    members: dict[tuple[Zone, ClockRule], list[Expression]] = {}
    for expression in expressions:
        zone = zones.get(expression.zone or rule.zone or "")
        members.setdefault((zone, rule.clock_rule(expression)), []).append(expression)
    return tuple(_group(rule, group, zone, clock, days) for (zone, clock), group in members.items())


def _interval(rule: CalendarRule, zone: Zone) -> tuple[Group, ...]:
    assert rule.every
    open_times = OpenTimes(zone, map(read_window, rule.within)) if rule.within else None
    return (Group(zone, EveryInstants(rule.every, zone, open_times), ()),)


def _group(rule: CalendarRule, expressions: Sequence[Expression], zone: Zone, clock: ClockRule, days: DueDays) -> Group:
    due = [days.of(rule, expression, zone) for expression in expressions]
    moves = tuple(one for one in due if isinstance(one, Moved))
    if rule.nth:
        picked = Nth(AnyOf(tuple(due)), frozenset(rule.nth))
        due = [AllOf((one, picked)) for one in due]
    parts = [Part(one, _times(rule, expression)) for one, expression in zip(due, expressions, strict=True)]
    instants = Instants(zone, LocalTimes(parts), clock)
    if rule.from_day is None and rule.until_day is None:
        return Group(zone, instants, moves)
    return Group(zone, DaysInZone(instants, zone, rule.from_day, rule.until_day), moves)


def _times(rule: CalendarRule, expression: Expression) -> tuple[Times, ...]:
    """The times of day of an expression: one set for all days, or seven for the weekdays if windows restrict them."""
    times = times_of_day(expression.hours, expression.minutes, expression.seconds)
    if not rule.within:
        return (times,)
    return tuple(times.within(ranges) for ranges in ranges_by_weekday(map(read_window, rule.within)))
