"""Cron expressions with the default rule, compared with a model of Debian's crond around clock changes."""

from __future__ import annotations

from random import Random
from zoneinfo import ZoneInfo

from schedappliance.model.calendars.compiling import calendar_of
from schedappliance.model.calendars.rule import CalendarRule
from schedappliance.model.calendars.zones import Zones, this_machine
from tests.model.calendars.crond import MINUTE, Line, random_line, starts
from tests.model.calendars.due_times import forward
from tests.model.calendars.zone_changes import random_change
from tests.support.random_seeds import few_and_many_seeds

HOURS = 3600
# crond takes a greater step of the clock for a correction of the time, and starts nothing twice and nothing late.
MOST_SECONDS = 2 * HOURS


@few_and_many_seeds(60, 100)
def test_the_same_starts_as_crond(seeds: range) -> None:
    zones = Zones(this_machine())
    for seed in seeds:
        random = Random(seed)
        line, (name, change) = random_line(random), random_change(random)
        piece = zones.get(name).piece_at(change)
        if abs(piece.offset - piece.before) > MOST_SECONDS:
            continue
        start, end = change - 30 * HOURS // MINUTE * MINUTE, change + 30 * HOURS
        start, end = start - start % MINUTE, end - end % MINUTE
        calendar = calendar_of(CalendarRule(syntax="cron", expressions=(line,), zone=name), zones, {})
        assert set(forward(calendar, start, end)) == starts(Line(line), ZoneInfo(name), start, end), (seed, line, name)
