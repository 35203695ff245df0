"""One cron or calendar expression as its meaning: which days, at which times of day.

Rule: cron.py and oncalendar.py make it from text; calendar.py computes due times with it. Its times are local.
"""

from __future__ import annotations

from dataclasses import dataclass

from schedappliance.model.calendars.days import Days


@dataclass(frozen=True, slots=True)
class Expression:
    """Days and times of day. A due time is a second whose year, month, day, hour, minute and second are all in the sets.

    `months`: bits 1 to 12. `years` None: every year to 9999. `hours`, `minutes` and `seconds`: sorted, without duplicates.
    `rolling`: the minute or the hour repeats, so the expression follows the clock's own minutes through a clock change.
    `zone`: the zone that is written inside the expression. `normal`: the normal form of the text, without its zone.
    """

    normal: str
    days: Days
    months: int
    years: frozenset[int] | None
    hours: tuple[int, ...]
    minutes: tuple[int, ...]
    seconds: tuple[int, ...]
    rolling: bool
    zone: str | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """Local times of day from `start` to before `end`, in seconds since midnight, on the days that begin it.

    `end` is at most 86400 plus `start`: a window over midnight belongs to the day on which it begins.
    """

    normal: str
    weekdays: frozenset[int]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Dates:
    """One entry of a `days` stanza: days, months and years."""

    normal: str
    days: Days
    months: int
    years: frozenset[int] | None
