"""The times in commands: instants, and times that depend on now or on a time zone, such as `tomorrow 08:00` or `12h` ago.

Rule: a text is read when the command is typed, and becomes an instant (calendars/instants.py) when it is carried out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date

from schedappliance.diagnostics import InvalidValue, shortened
from schedappliance.model.values import MAX_DURATION_MS, duration, instant
from schedappliance.syntax.command import TIME_REMEDY, UNIT_REMEDY

_LOCAL = re.compile(
    r"(?:(?P<day>yesterday|today|tomorrow)[ \t]+|(?P<date>\d{4}-\d\d?-\d\d?)(?:[ \t]+|T))?"
    r"(?P<hour>\d\d?):(?P<minute>\d\d)(?::(?P<second>\d\d))?(?:[ \t]+(?P<zone>[^ \t]+))?",
    re.ASCII | re.IGNORECASE,
)
# The other forms of a time of day that at(1) takes, and a day after the time. They are read as `_LOCAL`.
_AS_FOR_AT = re.compile(
    r"(?:(?P<day>yesterday|today|tomorrow|\d{4}-\d\d?-\d\d?)[ \t]+)?"
    r"(?P<time>noon|midnight|\d{4}|(?P<hour>\d\d?)(?::(?P<minute>\d\d))?[ \t]*(?P<half>[ap])m|\d\d?:\d\d(?::\d\d)?)"
    r"(?:[ \t]+(?P<after>today|tomorrow|\d{4}-\d\d?-\d\d?))?(?P<zone>[ \t]+[^ \t]+)?",
    re.ASCII | re.IGNORECASE,
)
_NAMED_TIMES = {"noon": "12:00", "midnight": "00:00"}
_TOMORROW = re.compile(r"tomorrow(?:[ \t]+(?P<zone>[a-z_]+/[^ \t]+|utc|local))?", re.ASCII | re.IGNORECASE)
_DATE = re.compile(r"\d{4}-\d\d?-\d\d?", re.ASCII)
_AFTER_NOW = re.compile(r"now[ \t]*\+[ \t]*(\d{1,9})[ \t]*([a-z]+)", re.ASCII | re.IGNORECASE)
_NO_UNIT = re.compile(r"now[ \t]*\+[ \t]*\d+", re.ASCII | re.IGNORECASE)
# Texts without a date, such as `teatime` and `next monday`.
_WORDS = re.compile(r"\d{0,2}[a-z][a-z ]*", re.ASCII | re.IGNORECASE)
_UNITS_MS = {"second": 1000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000, "week": 604_800_000}
_UNITS_MS |= {"sec": 1000, "min": 60_000}
# A duration with units, and a day without a time.
_SPAN = re.compile(r"(?:\d+[dhms])+", re.ASCII | re.IGNORECASE)
_DAY = re.compile(
    r"(?:yesterday|today|\d{4}-\d\d?-\d\d?)(?:[ \t]+[a-z_]+/[^ \t]+|[ \t]+utc)?", re.ASCII | re.IGNORECASE
)
PAST_REMEDY = (
    "write `12h` (ago), `today`, `yesterday 22:00`, `22:00` (the last one), `2026-11-28`, a Unix timestamp, or ISO 8601"
    " with zone"
)


@dataclass(frozen=True, slots=True)
class AfterNow:
    """A time after the present; before it, if negative."""

    milliseconds: int


@dataclass(frozen=True, slots=True)
class LocalTime:
    """A time of day: on a date, yesterday, today or tomorrow. None: where it is next, or was last.

    `time`: None for the time of day that it is now. `zone`: the zone that is written, None for the zone of `sched`.
    `is_day`: only a date is written, and the time is its first or its last second.
    """

    time: str | None
    day: date | str | None
    zone: str | None
    is_day: bool = False

    @property
    def written(self) -> str:
        """The time as one text, the same for all spellings of it."""
        return " ".join(str(part) for part in (self.day, self.time, self.zone) if part is not None)


When = int | AfterNow | LocalTime


def read_when(text: str) -> When:
    """The meaning of a time of `sched at`: an instant in milliseconds, or a time that is relative. Raises InvalidValue."""
    if after := _AFTER_NOW.fullmatch(text):
        count, unit = after.groups()
        milliseconds = _UNITS_MS.get(unit.lower().removesuffix("s"))
        if milliseconds is None:
            raise InvalidValue(f"unknown unit `{shortened(unit)}`", UNIT_REMEDY, "E203")
        if int(count) * milliseconds > MAX_DURATION_MS:
            raise InvalidValue(f"`{shortened(text)}` is in more than 100 years", "give an earlier time", "E204")
        return AfterNow(int(count) * milliseconds)
    if local := _LOCAL.fullmatch(_in_24_hours(text)):
        return _local_time(text, local)
    if tomorrow := _TOMORROW.fullmatch(text):
        return LocalTime(None, "tomorrow", tomorrow["zone"])
    if text.lower() == "now":
        return AfterNow(0)
    if _NO_UNIT.fullmatch(text):
        raise InvalidValue(f"`{shortened(text)}` has no unit", UNIT_REMEDY, "E203")
    if not text[:4].isdigit() and _WORDS.fullmatch(text):
        raise InvalidValue(f"invalid time `{shortened(text)}`", TIME_REMEDY, "E203")
    return _instant(text)


def read_past(text: str) -> When:
    """The meaning of a time to look back to. As `read_when`, with durations (`12h` ago) and days. Raises InvalidValue."""
    if _SPAN.fullmatch(text):
        return AfterNow(-duration(text.lower()))
    if _DAY.fullmatch(text):
        day, *zone = text.split()
        text = " ".join([day, "00:00", *zone])
    try:
        return read_when(text)
    except InvalidValue as invalid:
        raise InvalidValue(invalid.message, PAST_REMEDY, invalid.code) from None


def _instant(text: str) -> int:
    if _DATE.fullmatch(text):
        raise InvalidValue(f"`{text}` has no time of day", f"append it: `{text}T08:00`")
    return instant(text)


def at_option(text: str) -> int | LocalTime:
    """The meaning of `at` in a stanza: an instant in milliseconds, or a date with a time of day. Raises InvalidValue."""
    local = _LOCAL.fullmatch(text)
    return _local_time(text, local) if local and local["date"] else _instant(text)


def from_option(text: str) -> int | LocalTime:
    """As `at_option`; a date alone is the first second of that day. Raises InvalidValue."""
    return _first_or_last_second(text, "00:00")


def until_option(text: str) -> int | LocalTime:
    """As `at_option`; a date alone is the last second of that day. Raises InvalidValue."""
    return _first_or_last_second(text, "23:59:59")


def _first_or_last_second(text: str, time: str) -> int | LocalTime:
    if not _DATE.fullmatch(text):
        return at_option(text)
    local = at_option(f"{text} {time}")
    return replace(local, is_day=True) if isinstance(local, LocalTime) else local


def _in_24_hours(text: str) -> str:
    """A time as at(1) takes it, such as `8:30pm tomorrow`, as `tomorrow 20:30`. Any other text as it is."""
    match = _AS_FOR_AT.fullmatch(text)
    if match is None or (match["day"] and match["after"]):
        return text
    time = _NAMED_TIMES.get(match["time"].lower(), match["time"])
    if match["half"]:
        hour = int(match["hour"])
        if not 1 <= hour <= 12:
            raise InvalidValue(
                f"invalid time of day in `{shortened(text)}`", "write an hour from 1 to 12 before am or pm"
            )
        time = f"{hour % 12 + (12 if match['half'] in 'pP' else 0)}:{match['minute'] or '00'}"
    elif time.isdigit():
        time = f"{time[:2]}:{time[2:]}"
    day = match["day"] or match["after"]
    return f"{f'{day} ' if day else ''}{time}{match['zone'] or ''}"


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
