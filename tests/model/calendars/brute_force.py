"""Due times found by looking at every minute: what the arithmetic must agree with. It shares no code with the package.

Rule: the times of day are whole minutes, and the clock is `zoneinfo`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

from schedappliance.model.calendars.days import days_of_month, weekdays
from schedappliance.model.calendars.expression import Expression

MINUTE, HOUR, DAY = 60, 3600, 86_400
ALL_MINUTES, ALL_HOURS = tuple(range(60)), tuple(range(24))


@dataclass(frozen=True)
class Fields:
    """What a random cron expression says. `either`: one of the two day fields is enough."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either: bool

    def match(self, local: datetime) -> bool:
        of_days = local.day in self.days, local.weekday() in self.weekdays
        return (
            local.minute in self.minutes
            and local.hour in self.hours
            and local.month in self.months
            and (any(of_days) if self.either else all(of_days))
        )

    def expression(self, rolling: bool = False) -> Expression:
        by_month, by_week = days_of_month(self.days), weekdays(self.weekdays)
        return Expression(
            normal=repr(self),
            days=by_month | by_week if self.either else by_month & by_week,
            months=sum(1 << month for month in self.months),
            years=None,
            hours=self.hours,
            minutes=self.minutes,
            seconds=(0,),
            rolling=rolling,
        )


def random_fields(random: Random) -> Fields:
    """Fields that are often due, and often in the hours in which clocks are changed."""
    few = [
        tuple(sorted(random.sample(range(60), random.choice((1, 2, 5))))),
        tuple(range(0, 60, random.choice((7, 15)))),
    ]
    hours = [ALL_HOURS, tuple(sorted(random.sample(range(6), 2))), (random.randrange(24),), tuple(range(0, 24, 5))]
    restricted = random.random() < 0.3
    return Fields(
        minutes=random.choice((*few, ALL_MINUTES)),
        hours=random.choice(hours),
        days=frozenset(random.sample(range(1, 32), 20)) if restricted else frozenset(range(1, 32)),
        months=frozenset(range(1, 13)),
        weekdays=frozenset(random.sample(range(7), 4)) if random.random() < 0.4 else frozenset(range(7)),
        either=restricted and random.random() < 0.5,
    )


def due_instants(fields: Fields, zone: ZoneInfo, start: int, end: int, skipped: str, repeated: str) -> list[int]:
    """The due instants from `start` to before `end`, both full minutes, by the rule of clock changes."""
    due = set()
    for instant in range(start - DAY, end + DAY, MINUTE):
        local = datetime.fromtimestamp(instant, zone)
        if fields.match(local) and _counts(local, repeated):
            due.add(instant)
    for change, before in _changes(zone, start - DAY, end + DAY):
        due |= set(_made_up(fields, zone, change, before, skipped))
    return sorted(instant for instant in due if start <= instant < end)


def _counts(local: datetime, repeated: str) -> bool:
    """Whether a local time that is perhaps repeated is due when the clock shows it this time."""
    if repeated == "both" or local.replace(fold=0).utcoffset() == local.replace(fold=1).utcoffset():
        return True
    return local.fold == (0 if repeated == "first" else 1)


def _changes(zone: ZoneInfo, start: int, end: int) -> Iterator[tuple[int, timedelta]]:
    """The instants at which the offset changes, with the offset before."""
    before = None
    for instant in range(start - MINUTE, end, MINUTE):
        offset = datetime.fromtimestamp(instant, zone).utcoffset()
        if before is not None and before != offset:
            yield instant, before
        before = offset


def _made_up(fields: Fields, zone: ZoneInfo, change: int, before: timedelta, skipped: str) -> Iterator[int]:
    """The instants at which the times that a change skips are due."""
    if skipped == "omit":
        return
    local = (datetime.fromtimestamp(change, UTC) + before).replace(tzinfo=None)
    shown = datetime.fromtimestamp(change, zone).replace(tzinfo=None)
    while local < shown:
        if fields.match(local):
            yield change if skipped == "run" else int((local.replace(tzinfo=UTC) - before).timestamp())
        local += timedelta(minutes=1)
