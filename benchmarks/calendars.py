"""How fast the next due times of calendar jobs are found, beside libraries for cron expressions in the same process.

`python -m benchmarks --only calendars`. Each library keeps one prepared object for each job, and its setup is not
measured. Rates count CPU seconds of the process, so other load on the machine matters little.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter, process_time
from zoneinfo import ZoneInfo

from benchmarks.measuring import Scale, Way, by_turns
from benchmarks.reporting import OURS, Check, Report
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


def run(scale: Scale, _folder: Path) -> Report:
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
    for peer in MODULES:
        report.check_ratio(f"beside {peer}", OURS, peer, WANTED)
    report.checks.append(Check(DOWN, min(report.rows[-1].values), MOST_MS, "ms", at_least=False))
    report.drawn = tuple(WAYS)
    return report
