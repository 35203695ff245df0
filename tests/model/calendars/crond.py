"""A model of the main loop of Debian's crond, with a reader of simple cron lines. It shares no code with the package.

Rule: the model follows cron.c, state for state: the clock in minutes, and a virtual clock that runs after it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from zoneinfo import ZoneInfo

MINUTE = 60
RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


def numbers(field: str, low: int, high: int) -> set[int]:
    """The numbers of a field: lists of `*`, `a`, `a-b`, each perhaps with a step."""
    result = set()
    for item in field.split(","):
        span, _, step = item.partition("/")
        first, _, last = (f"{low}-{high}" if span == "*" else span).partition("-")
        result |= set(range(int(first), int(last or first) + 1, int(step or 1)))
    return result


class Line:
    """The schedule of a crontab line. `wild`: its minute or its hour begins with `*`."""

    def __init__(self, text: str) -> None:
        fields = text.split()
        self._sets = [numbers(field, *limits) for field, limits in zip(fields, RANGES, strict=True)]
        self.wild = fields[0].startswith("*") or fields[1].startswith("*")
        self._either = not (fields[2].startswith("*") or fields[4].startswith("*"))

    def match(self, minute: int) -> bool:
        """Whether a minute of local time since 1970 is due."""
        local = datetime.fromtimestamp(minute * MINUTE, UTC)
        minutes, hours, days, months, weekdays = self._sets
        of_days = [local.day in days, bool({local.isoweekday(), local.isoweekday() % 7} & weekdays)]
        day = any(of_days) if self._either else all(of_days)
        return local.minute in minutes and local.hour in hours and local.month in months and day


def starts(line: Line, zone: ZoneInfo, start: int, end: int) -> set[int]:
    """The instants at which crond starts the line, if it runs from `start` to before `end`, both full minutes."""
    due, virtual = set(), _clock(zone, start - MINUTE)
    for instant in range(start, end, MINUTE):
        clock = _clock(zone, instant)
        behind = clock - virtual
        if behind > 180 or behind <= -180:
            virtual = clock
            matches = line.match(clock)
        elif behind > 5:
            passed = range(virtual + 1, clock + 1)
            matches = line.match(clock) if line.wild else any(line.match(minute) for minute in passed)
            virtual = clock
        elif behind > 0:
            matches = any(line.match(minute) for minute in range(virtual + 1, clock + 1))
            virtual = clock
        else:
            matches = line.wild and line.match(clock)
        if matches:
            due.add(instant)
    return due


def _clock(zone: ZoneInfo, instant: int) -> int:
    """The minutes of the local clock since 1970."""
    offset = datetime.fromtimestamp(instant, zone).utcoffset()
    assert offset is not None
    return (instant + int(offset.total_seconds())) // MINUTE


def random_line(random: Random) -> str:
    """A line that is often due in the hours in which clocks are changed."""
    few = ",".join(str(n) for n in sorted(random.sample(range(60), 3)))
    minute = random.choice(("*", "*/10", "*/7", str(random.randrange(60)), few, "0", "30", "5-55/10"))
    hour = random.choice(("*", "*/2", "*/5", str(random.randrange(5)), "1-3", "0,2", str(random.randrange(24))))
    days = [
        random.choice(("*", "*", "*/2", str(random.randrange(1, 29)), "1-7,20-31")),
        random.choice(("*", "*", "*/3", "3,4,9-11")),
        random.choice(("*", "*", "0", "7", "1-5", "0,3,6", "*/2")),
    ]
    return " ".join((minute, hour, *days))
