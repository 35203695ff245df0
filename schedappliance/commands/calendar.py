"""`sched cron|calendar|next`: makes jobs that follow a calendar, and shows the next due times of a job.

Rule: people see a due time in the zone of its calendar, and that of another job in the zone of the appliance, unless a
clock change moves or repeats its local time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from schedappliance.clock import time_data
from schedappliance.commands.lookup import find_job, number_of, unknown_zone
from schedappliance.commands.outcome import Outcome
from schedappliance.commands.phrases import due_notes, never_runs, special_of, understood, zoned_text
from schedappliance.commands.sched import add_job
from schedappliance.commands.view import View
from schedappliance.diagnostics import InvalidValue
from schedappliance.engine.effects import Answer
from schedappliance.engine.records import Job, job_id
from schedappliance.engine.schedule import NoSchedule
from schedappliance.model.calendars.compiling import calendar_of
from schedappliance.model.calendars.instants import zone_remedy
from schedappliance.model.calendars.rule import CalendarRule, Syntax
from schedappliance.model.calendars.zones import UnknownZone
from schedappliance.model.commands import Command
from schedappliance.model.values import integer

SHOWN, MOST_SHOWN = 10, 1000
# Each may take a millisecond. A console gets them one at a time, but the turn makes an answer that it stores.
MOST_STORED = 100


def schedule_cron(view: View, command: Command) -> Outcome:
    return _schedule(view, command, "cron")


def schedule_calendar(view: View, command: Command) -> Outcome:
    return _schedule(view, command, "calendar")


def _schedule(view: View, command: Command, syntax: Syntax) -> Outcome:
    """Adds a job with one expression, in the zone inside it or in that of `sched`."""
    (when,) = command.words
    now = view.moment.wall
    # The values of `~` are picked by the id of the job.
    seed = f"{view.store.node}\0{job_id(view.store.node, view.store.jobs.next_number())}"
    rule = CalendarRule(syntax=syntax, expressions=(when,), zone=view.options.configuration.zone, seed=seed)
    (expression,) = rule.read_expressions()
    name = expression.zone or rule.zone
    if name is None:
        remedy = f"{zone_remedy(view.schedules.zones)} once in `sched`, or the zone in the expression"
        raise view.reject("E205", f"the expression `{when}` has no time zone", remedy)
    try:
        calendar = calendar_of(rule, view.schedules.zones, {})
        zone = view.schedules.zones.get(name)
    except UnknownZone as unknown:
        raise unknown_zone(view, unknown) from None
    due = calendar.next_after(now)
    if due is None:
        raise view.reject(
            "E214", f"`{when}` is never due from now on", "all its due times have passed; give later ones"
        )
    note = understood(zone, due, now, calendar.explain(due), "next at")
    return add_job(view, command, "calendar", due, schedule=rule.text({}), note=note)


def next_due_times(view: View, command: Command) -> Outcome:
    """The next due times of a job, and what is special about each. Those of a paused or disabled job are shown too."""
    word = command.words[0]
    number = number_of(view, word)
    if view.store.jobs.get(number) is None and not view.store.runs.waits(number) and view.store.runs.history(number, 1):
        message = f"job {word} has no next due time: it is done or was deleted"
        raise view.reject("E501", message, f"`sched history {word}` lists its runs")
    job = find_job(view, word)
    count = SHOWN
    if len(command.words) > 1:
        try:
            count = integer(command.words[1], 1, MOST_SHOWN)
        except InvalidValue as invalid:
            raise view.reject(invalid.code, invalid.message, invalid.help) from None
    times = _times(view, job, count if view.is_streamed else min(count, MOST_STORED))
    pieces = _json_pieces(view, job, times) if view.order.as_json else _text_pieces(view, job, times)
    return Outcome(Answer(pieces if view.is_streamed else "".join(pieces), is_json=view.order.as_json))


def _text_pieces(view: View, job: Job, times: Iterator[int]) -> Iterator[str]:
    before = ""
    for due_ms in times:
        special = special_of(view, job, due_ms)
        note = "; ".join(due_notes(special))
        yield before + "\t".join(filter(None, (zoned_text(view, job, due_ms, special), note)))
        before = "\n"
    # A disabled job has due times too.
    if why := never_runs(view, job) or ("" if before else "it does not run again"):
        yield before + why


def _json_pieces(view: View, job: Job, times: Iterator[int]) -> Iterator[str]:
    head = json.dumps({"id": job_id(view.store.node, job.number), "name": job.declared}, ensure_ascii=False)
    before = f'{head[:-1]}, "next": ['
    for due_ms in times:
        note = "; ".join(due_notes(special_of(view, job, due_ms)))
        yield before + json.dumps({**time_data("due", due_ms), "note": note or None}, ensure_ascii=False)
        before = ", "
    yield "]}" if before == ", " else f"{before}]}}"


def _times(view: View, job: Job, count: int) -> Iterator[int]:
    """The stored next due time, and those that follow it."""
    try:
        schedule = view.schedules.of(job) if job.next_run_ms is not None else None
    except NoSchedule:
        schedule = None
    due = job.next_run_ms
    while due is not None and count:
        yield due
        count -= 1
        due = schedule.next_after(due) if schedule and count else None
