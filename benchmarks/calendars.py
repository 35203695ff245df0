"""How fast the next due times of calendar jobs are found, beside libraries for cron expressions in the same process.
Also how soon a daemon is ready with many calendar jobs, beside one with as many jobs that are due at an interval.

`python -m benchmarks --only calendars`. Each library keeps one prepared object for each job, and its setup is not
measured. Rates count CPU seconds of the process, so other load on the machine matters little.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter, process_time, time_ns
from zoneinfo import ZoneInfo

from benchmarks.appliances import DAY_MS, Place, make
from benchmarks.measuring import Scale, Way, by_turns
from benchmarks.reporting import OURS, Check, Report
from benchmarks.restart import STOPPED, ready
from schedappliance.engine.schedule import what_is_due
from schedappliance.model.calendars.compiling import Calendars
from schedappliance.model.calendars.rule import CalendarRule
from schedappliance.model.calendars.zones import Zones, this_machine

TITLE = "next due times of calendar jobs"
CRONSIM, CRONITER, APSCHEDULER = "cronsim", "croniter", "APScheduler 3, CronTrigger"
MODULES = {CRONSIM: "cronsim", CRONITER: "croniter", APSCHEDULER: "apscheduler"}
WANTED = 5.0
DOWN = f"{OURS}, claim after ten years of `* * * * * *`"
MOST_MS = 1.0
# The spread of starts on one machine.
MOST_LONGER = 1.1

ZONE = "Europe/Berlin"
# All are due in the same minute.
DUE = datetime(2027, 6, 1, 2, 30, tzinfo=ZoneInfo(ZONE))
EXPRESSIONS = (
    *("30 2 * * *", "30 2 * * mon-fri", "30 2 1 * *", "*/15 * * * *", "30 * * * *", "0,30 2,14 * * *"),
    *("30 2 * 6 *", "*/10 2-4 * * *", "30 2 * * tue", "* * * * *"),
)
TEN_YEARS = timedelta(days=3653)


def ours(expressions: list[str]) -> float:
    """The texts stand in the store, so the calendar of each job is looked up by its text."""
    calendars, due_ms = Calendars(Zones(this_machine()), {}), int(DUE.timestamp()) * 1000
    texts = [CalendarRule(syntax="cron", expressions=(one,), zone=ZONE).text({}) for one in expressions]
    return _rate([partial(_next, calendars, text, due_ms) for text in texts])


def _next(calendars: Calendars, text: str, due_ms: int) -> int | None:
    return calendars.get(text).next_after(due_ms)


def cronsim(expressions: list[str]) -> float:
    from cronsim import CronSim

    return _rate([partial(next, CronSim(one, DUE)) for one in expressions])


def croniter(expressions: list[str]) -> float:
    from croniter import croniter

    return _rate([partial(croniter(one, DUE).get_next, datetime) for one in expressions])


def apscheduler(expressions: list[str]) -> float:
    from apscheduler.triggers.cron import CronTrigger

    triggers = [CronTrigger.from_crontab(one, ZONE) for one in expressions]
    return _rate([partial(trigger.get_next_fire_time, DUE, DUE) for trigger in triggers])


def _rate(questions: list[Callable[[], object]]) -> float:
    """Answers a CPU second. The first answers, which fill caches, are not measured."""
    for question in questions[: len(EXPRESSIONS)]:
        question()
    began = process_time()
    for question in questions:
        question()
    return len(questions) / (process_time() - began)


WAYS: dict[str, Callable[[list[str]], float]] = {
    OURS: ours,
    CRONSIM: cronsim,
    CRONITER: croniter,
    APSCHEDULER: apscheduler,
}


def claim_after_years() -> float:
    """Milliseconds until the due time, the missed ones and the next one are known, for the first time after a start."""
    rule = CalendarRule(syntax="cron", expressions=("* * * * * *",), zone=ZONE)
    calendar = Calendars(Zones(this_machine()), {}).get(rule.text({}))
    now_ms = int(DUE.timestamp()) * 1000
    since_ms = now_ms - TEN_YEARS // timedelta(milliseconds=1)
    began = perf_counter()
    due = what_is_due(calendar, since_ms, now_ms)
    seconds = perf_counter() - began
    assert due.missed is not None and due.missed.count == TEN_YEARS // timedelta(seconds=1)
    return seconds * 1000


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


def add_restarts(report: Report, scale: Scale, folder: Path) -> None:
    """Seconds from the command to `is ready`, with each kind of jobs."""
    jobs = scale.pick(1_000_000, 100_000, 100)
    first = time_ns() // 1_000_000 + 10 * DAY_MS
    every, calendar = make(folder / "every", jobs, first), follow_calendars(make(folder / "calendar", jobs, first))
    names = tuple(f"{OURS}, ready with {jobs:,} {kind} jobs" for kind in ("interval", "calendar"))
    report.add(
        by_turns(
            {names[0]: partial(ready, every, STOPPED), names[1]: partial(ready, calendar, STOPPED)}, scale.pick(7, 3, 1)
        ),
        "s",
    )
    one, other = (report.median(name) for name in names)
    assert one is not None and other is not None
    report.checks.append(
        Check("start with calendar jobs beside interval jobs", other / one, MOST_LONGER, "times", False)
    )


def run(scale: Scale, folder: Path) -> Report:
    count = scale.pick(10_000, 10_000, 100)
    expressions = list(islice(cycle(EXPRESSIONS), count))
    report = Report(
        TITLE, f"{count:,} jobs that are due in the same minute, with {len(EXPRESSIONS)} expressions, {ZONE}"
    )
    report.absent += [f"{peer}: not installed" for peer, module in MODULES.items() if find_spec(module) is None]
    ways: dict[str, Way] = {
        name: partial(way, expressions) for name, way in WAYS.items() if name == OURS or find_spec(MODULES[name])
    }
    report.add(by_turns(ways, scale.pick(7, 3, 1)), "due times/s")
    report.add(by_turns({DOWN: claim_after_years}, scale.pick(21, 9, 1)), "ms")
    peers = {name: rate for name in MODULES if (rate := report.median(name)) is not None}
    if peers:
        fastest = max(peers, key=lambda name: peers[name])
        report.check_ratio(f"beside the fastest library, {fastest}", OURS, fastest, WANTED)
    report.checks.append(Check(DOWN, min(report.rows[-1].values), MOST_MS, "ms", at_least=False))
    add_restarts(report, scale, folder)
    report.drawn = tuple(WAYS)
    return report
