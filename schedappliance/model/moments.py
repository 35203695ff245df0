"""The times of `sched at`: instants, and times that depend on now or on a time zone, such as `tomorrow 08:00`.

Rule: a text is read when the command is typed, and becomes an instant when the command is carried out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta

from schedappliance.diagnostics import InvalidValue, shortened
from schedappliance.model.calendars.compiling import calendar_of
from schedappliance.model.calendars.rule import CalendarRule
from schedappliance.model.calendars.texts import local_datetime
from schedappliance.model.calendars.zones import LOCAL, UnknownZone, Zones
from schedappliance.model.values import MAX_TIME_MS, instant

_LOCAL = re.compile(
    r"(?:(?P<day>today|tomorrow)[ \t]+|(?P<date>\d{4}-\d\d?-\d\d?)[ \t]+)?"
    r"(?P<hour>\d\d?):(?P<minute>\d\d)(?::(?P<second>\d\d))?(?:[ \t]+(?P<zone>[^ \t]+))?",
    re.ASCII | re.IGNORECASE,
)
_AFTER_NOW = re.compile(r"now[ \t]*\+[ \t]*(\d{1,9})[ \t]*([a-z]+)", re.ASCII | re.IGNORECASE)
_UNITS_MS = {"second": 1000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000, "week": 604_800_000}
_UNITS_MS |= {"sec": 1000, "min": 60_000}


@dataclass(frozen=True, slots=True)
class AfterNow:
    """A time after the present."""

    milliseconds: int


@dataclass(frozen=True, slots=True)
class LocalTime:
    """A time of day: on a date, today, tomorrow, or on the next day on which it is still to come (None).

    `zone`: the zone that is written, None for the zone of `sched`.
    """

    time: str
    day: date | str | None
    zone: str | None


When = int | AfterNow | LocalTime


def read_when(text: str) -> When:
    """The meaning of a time of `sched at`: an instant in milliseconds, or a time that is relative. Raises InvalidValue."""
    if after := _AFTER_NOW.fullmatch(text):
        count, unit = after.groups()
        milliseconds = _UNITS_MS.get(unit.lower().removesuffix("s"))
        if milliseconds is None:
            raise InvalidValue(
                f"unknown unit `{shortened(unit)}`", "write seconds, minutes, hours, days or weeks", "E203"
            )
        return AfterNow(int(count) * milliseconds)
    if local := _LOCAL.fullmatch(text):
        return _local_time(text, local)
    if text.lower() == "now":
        return AfterNow(0)
    return instant(text)


def _local_time(text: str, match: re.Match[str]) -> LocalTime:
    hour, minute, second = (int(match[part] or 0) for part in ("hour", "minute", "second"))
    if hour > 23 or minute > 59 or second > 59:
        raise InvalidValue(
            f"invalid time of day in `{shortened(text)}`", "write 00:00 to 23:59, or 00:00:00 to 23:59:59"
        )
    day: date | str | None = match["day"].lower() if match["day"] else None
    if match["date"]:
        year, month, number = map(int, match["date"].split("-"))
        try:
            day = date(year, month, number)
        except ValueError:
            raise InvalidValue(f"there is no day {match['date']}", "write YEAR-MONTH-DAY") from None
        if not 1970 <= year <= 9999:
            raise InvalidValue(f"time `{text}` is before 1970", "give a later year", "E204")
    return LocalTime(f"{hour:02d}:{minute:02d}:{second:02d}", day, match["zone"])


def zone_of(when: When) -> str | None:
    """The zone that is written in a time."""
    return when.zone if isinstance(when, LocalTime) else None


def instant_of(when: When, now_ms: int, zone: str | None, zones: Zones) -> int:
    """The instant in milliseconds. `zone`: that of `sched`. Raises InvalidValue, and UnknownZone."""
    if isinstance(when, int):
        return when
    if isinstance(when, AfterNow):
        return min(now_ms + when.milliseconds, MAX_TIME_MS)
    name = when.zone or zone
    if name is None:
        raise InvalidValue(
            f"`{when.time}` has no time zone",
            f"{zone_remedy(zones)} once in `sched`, or append a zone: `{when.time} UTC`",
            "E205",
        )
    day = when.day
    if isinstance(day, str):
        today = local_datetime(now_ms, zones.get(name)).date()
        day = today + timedelta(days=day == "tomorrow")
    dates = "*-*-*" if day is None else day.isoformat()
    rule = CalendarRule(syntax="calendar", expressions=(f"{dates} {when.time}",), zone=name)
    due = calendar_of(rule, zones, {}).next_after(now_ms if day is None else -1)
    if due is None:
        raise InvalidValue(f"`{when.time}` is never due", "give a time before the year 9999", "E204")
    return due


def zone_remedy(zones: Zones) -> str:
    """What to write where a time zone is missing: the zone of this machine, if it has one with a name."""
    try:
        name = zones.local.name or LOCAL
    except UnknownZone:
        return 'write a zone such as `zone = "Europe/Berlin"`'
    return f'write `zone = "{name}"` (this machine\'s)'
