"""Due times around clock changes, compared with every minute of `zoneinfo`."""

from __future__ import annotations

from itertools import product
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from schedappliance.model.calendars.clock_changes import ClockRule, Instants
from schedappliance.model.calendars.day_sets import Pattern
from schedappliance.model.calendars.expression import Expression
from schedappliance.model.calendars.local_times import LocalTimes, Part
from schedappliance.model.calendars.times import times_of_day
from schedappliance.model.calendars.zones import Zones, this_machine
from tests.model.calendars.brute_force import DAY, MINUTE, due_instants, random_fields
from tests.model.calendars.zone_changes import random_change
from tests.support.random_seeds import few_and_many_seeds

RULES: list[tuple[Any, Any]] = list(product(("run", "shift", "omit"), ("first", "last", "both")))


def _part(expression: Expression) -> Part:
    days = Pattern(expression.days, expression.months, expression.years)
    return Part(days, (times_of_day(expression.hours, expression.minutes, expression.seconds),))


def _forward(instants: Instants, start: int, end: int) -> list[int]:
    due = []
    while (following := instants.first_from(start)) is not None and following < end:
        due.append(following)
        start = following + 1
    return due


def _backward(instants: Instants, start: int, end: int) -> list[int]:
    due = []
    while (latest := instants.last_to(end - 1)) is not None and latest >= start:
        due.append(latest)
        end = latest
    return due[::-1]


@few_and_many_seeds(60, 200)
def test_every_minute_around_changes(seeds: range) -> None:
    zones = Zones(this_machine())
    for seed in seeds:
        random = Random(seed)
        fields, (name, change), rule = random_fields(random), random_change(random), RULES[seed % len(RULES)]
        start, end = change - random.randrange(MINUTE, DAY, MINUTE), change + random.randrange(MINUTE, DAY, MINUTE)
        start -= start % MINUTE
        end -= end % MINUTE
        due = due_instants(fields, ZoneInfo(name), start, end, *rule)
        instants = Instants(zones.get(name), LocalTimes([_part(fields.expression())]), ClockRule(*rule))
        case = (seed, name, change, rule, fields)
        assert _forward(instants, start, end) == due, case
        assert _backward(instants, start, end) == due, case
        for low, high in [(start, end), *(sorted(random.sample(range(start, end), 2)) for _ in range(5))]:
            assert instants.count(low, high) == sum(low <= instant < high for instant in due), case
