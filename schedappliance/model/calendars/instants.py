"""The instants of times that depend on now or on a time zone. Rule: now and the zones are arguments."""

from __future__ import annotations

from datetime import datetime, timedelta

from schedappliance.clock import local_datetime
from schedappliance.diagnostics import InvalidValue
from schedappliance.model.calendars.calendar import Calendar, DueTime
from schedappliance.model.calendars.clock_changes import change_of
from schedappliance.model.calendars.compiling import calendar_of
from schedappliance.model.calendars.rule import CalendarRule
from schedappliance.model.calendars.zones import LOCAL, UnknownZone, Zones
from schedappliance.model.moments import AfterNow, LocalTime, When
from schedappliance.model.values import MAX_TIME_MS

_DAYS = {"yesterday": -1, "today": 0, "tomorrow": 1}


def instant_of(when: When, now_ms: int, zone: str | None, zones: Zones, looks_back: bool = False) -> int:
    """The instant in milliseconds. `zone`: that of `sched`. Raises InvalidValue, and UnknownZone.

    `looks_back`: a time of day without a day is the last one, not the next one.
    """
    if isinstance(when, int):
        return when
    if isinstance(when, AfterNow):
        return max(0, min(now_ms + when.milliseconds, MAX_TIME_MS))
    calendar = calendar_of_time(when, now_ms, zone, zones)
    is_last = when.day is None and looks_back
    due = calendar.latest(now_ms) if is_last else calendar.next_after(now_ms if when.day is None else -1)
    if due is None:
        raise InvalidValue(f"`{when.day or when.time}` is never due", "give a time before the year 9999", "E204")
    return due


def calendar_of_time(when: LocalTime, now_ms: int, zone: str | None, zones: Zones) -> Calendar:
    """The instants of a local time: one if it has a day, else one a day. As `instant_of` otherwise."""
    name, day, time = when.zone or zone, when.day, when.time
    if name is None:
        raise InvalidValue(
            f"`{time or day}` has no time zone",
            f"{zone_remedy(zones)} once in `sched`, or append a zone: `{time or day} UTC`",
            "E205",
        )
    now = local_datetime(now_ms, zones.get(name))
    if isinstance(day, str):
        day = now.date() + timedelta(days=_DAYS[day])
    dates = "*-*-*" if day is None else day.isoformat()
    rule = CalendarRule(syntax="calendar", expressions=(f"{dates} {time or now.strftime('%H:%M:%S')}",), zone=name)
    return calendar_of(rule, zones, {})


def instant_in(when: LocalTime, zone: str, zones: Zones) -> int:
    """The instant of a local time with a date.

    As in UTC, if the zone is unknown, which is reported elsewhere, or if the instant is not from 1970 to 9999.
    """
    try:
        return instant_of(when, 0, zone, zones)
    except (InvalidValue, UnknownZone):
        return _seconds_of(when) * 1000


def changed_by_clock(when: LocalTime, zone: str, zones: Zones, due_ms: int) -> DueTime | None:
    """A due time of a local time with a date, if a clock change skips or repeats this local time.

    It parses no expression: the first one of a daemon takes 40 ms.
    """
    local = _seconds_of(when)
    try:
        known = zones.get(when.zone or zone)
    except UnknownZone:
        return None
    change = change_of(local, due_ms // 1000, known)
    return DueTime(due_ms, known, local, change, spread=0, jitter=0, moved_from=None) if change else None


def _seconds_of(when: LocalTime) -> int:
    """A local time with a date, in seconds since 1970 on the clock of its zone."""
    return int(datetime.fromisoformat(f"{when.day} {when.time}Z").timestamp())


def zone_remedy(zones: Zones) -> str:
    """What to write where a time zone is missing: the zone of this machine, if it has one with a name."""
    try:
        name = zones.local.name or LOCAL
    except UnknownZone:
        return 'write a zone such as `zone = "Europe/Berlin"`'
    return f'write `zone = "{name}"` (this machine\'s)'
