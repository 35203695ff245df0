"""How soon a daemon is ready with many calendar jobs, beside one with as many jobs that are due at an interval.

`python -m benchmarks --only restart_calendars`. One job is due at each minute of the day, in turn.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from time import time_ns

from benchmarks.appliances import DAY_MS, Place, make
from benchmarks.calendars import ZONE
from benchmarks.measuring import Scale, by_turns
from benchmarks.reporting import OURS, Check, Report
from benchmarks.restart import STOPPED, ready
from schedappliance.model.calendars.rule import CalendarRule

TITLE = "restart with calendar jobs"
# The spread of starts on one machine.
MOST_LONGER = 1.1


def follow_calendars(place: Place) -> Place:
    """Gives the jobs of a store calendars instead of intervals: one for each minute of the day."""
    texts = [
        CalendarRule(syntax="cron", expressions=(f"{minute} {hour} * * *",), zone=ZONE).text({})
        for hour in range(24)
        for minute in range(60)
    ]
    with closing(sqlite3.connect(place.store)) as database, database:
        database.create_function("calendar", 1, lambda number: texts[number % len(texts)])
        database.execute("UPDATE jobs SET kind = 'calendar', interval_ms = NULL, schedule = calendar(number)")
    return place


def run(scale: Scale, folder: Path) -> Report:
    jobs = scale.pick(1_000_000, 100_000, 100)
    first = time_ns() // 1_000_000 + 10 * DAY_MS
    every, calendar = make(folder / "every", jobs, first), follow_calendars(make(folder / "calendar", jobs, first))
    report = Report(TITLE, f"{jobs:,} jobs of each kind; until `is ready`")
    names = tuple(f"{OURS}, {jobs:,} {kind} jobs" for kind in ("interval", "calendar"))
    ways = {name: partial(ready, place, STOPPED) for name, place in zip(names, (every, calendar), strict=True)}
    report.add(by_turns(ways, scale.pick(7, 3, 1)), "s")
    one, other = (report.median(name) for name in names)
    assert one is not None and other is not None
    report.checks.append(Check("calendar jobs beside interval jobs", other / one, MOST_LONGER, "times", False))
    report.drawn = names
    return report
