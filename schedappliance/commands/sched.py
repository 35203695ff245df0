"""`sched at|in|every|list|delete|history|run`: makes, lists and changes jobs.

Rule: the texts are byte for byte those of Momentum where it has one; the data after `json` may hold more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice
from typing import NamedTuple

from schedappliance.clock import local_text
from schedappliance.commands.lookup import find_job, find_past_run, is_unknown, number_of, unknown, unknown_zone
from schedappliance.commands.outcome import CallOff, Outcome
from schedappliance.commands.phrases import (
    WAITING_LOOKED_UP,
    calendar_data,
    due_text,
    hold_text,
    outcome_text,
    run_data,
    time_text,
    understood,
)
from schedappliance.commands.view import View, check_room
from schedappliance.diagnostics import InvalidValue, counted, shortened
from schedappliance.engine.effects import Answer, Rest
from schedappliance.engine.reasons import DELETED
from schedappliance.engine.records import Kind, NewJob, RunKey, job_id, job_number, run_id
from schedappliance.engine.states import RunState
from schedappliance.model.calendars.instants import calendar_of_time, instant_of
from schedappliance.model.calendars.zones import LOCAL, UnknownZone
from schedappliance.model.commands import Command, next_page
from schedappliance.model.listings import PAGE, Listing, read_listing
from schedappliance.model.moments import LocalTime, When, read_when, zone_of
from schedappliance.store.history import FIRST, LAST, MORE_COUNTED, FoundRuns, PastRun, RunFilter
from schedappliance.store.jobs import BEFORE_ALL, ListedJob, Place
from schedappliance.syntax.command import Word

# `sched at` accepts a time that passed while the user typed it. An earlier time is a mistake.
PAST_GRACE_MS = 60_000
LIST_LIMIT_IN_RESULT = 1000

LIST_HEADER = "JOB ID        \t    NEXT RUN TIME\tREC\tCOMMAND\n"
HISTORY_HEADER = "RUN ID        \tDUE TIME\tSTATE\tSTATUS\tCOMMAND\tREASON\n"


def schedule_at(view: View, command: Command) -> Outcome:
    due, note, arrived = command.milliseconds, None, view.order.arrived_ms
    if due is None:
        due, note = _resolve(view, command.words[0])
    if arrived is not None and due < arrived - PAST_GRACE_MS:
        message = f"{time_text(due, view.zone)} has passed: it is {time_text(arrived, view.zone)}"
        raise view.reject("E503", message, "give a time in the future, or `run` the program now")
    return add_job(view, command, "at", due, note=note)


def _resolve(view: View, text: str) -> tuple[int, str]:
    """The instant of a time that depends on now or on a zone, and what was understood. Raises Rejected."""
    zones, zone, now = view.schedules.zones, view.options.configuration.zone, view.order.arrived_ms or view.moment.wall
    when = read_when(text)
    try:
        due = instant_of(when, now, zone, zones)
        due_time = calendar_of_time(when, now, zone, zones).explain(due) if isinstance(when, LocalTime) else None
        return due, understood(zones.to_show(zone_of(when) or zone), due, view.moment.wall, due_time)
    except UnknownZone as unknown:
        raise unknown_zone(view, unknown) from None
    except InvalidValue as invalid:
        raise view.reject(invalid.code, invalid.message, invalid.help) from None


def _past_instant(view: View, when: When | None, default_ms: int) -> int:
    """The instant of a time to look back to, in the zone of `sched` or of the machine. Raises Rejected."""
    if when is None:
        return default_ms
    zones, zone = view.schedules.zones, view.options.configuration.zone or LOCAL
    try:
        return instant_of(when, view.moment.wall, zone, zones, looks_back=True)
    except UnknownZone as unknown:
        raise unknown_zone(view, unknown) from None
    except InvalidValue as invalid:
        raise view.reject(invalid.code, invalid.message, invalid.help) from None


def schedule_in(view: View, command: Command) -> Outcome:
    assert command.milliseconds is not None
    return add_job(view, command, "in", view.moment.wall + command.milliseconds)


def schedule_every(view: View, command: Command) -> Outcome:
    interval = command.milliseconds
    assert interval is not None
    return add_job(view, command, "every", view.moment.wall + interval, interval)


def add_job(
    view: View,
    command: Command,
    kind: Kind,
    next_run_ms: int,
    interval_ms: int | None = None,
    schedule: str | None = None,
    note: str | None = None,
) -> Outcome:
    """Adds the job of a scheduling command. `schedule`: the text of a calendar. `note`: what was understood."""
    assert command.inner is not None
    check_room(view)
    job = NewJob(
        kind,
        next_run_ms,
        interval_ms,
        command.inner,
        view.order.user,
        view.order.origin,
        schedule=schedule,
        on_failure_of=view.order.on_failure_of,
    )
    number = view.store.jobs.add(job, view.moment.wall)
    text = job_id(view.store.node, number)
    answer = view.answer(text, {"id": text, "next_run_ms": next_run_ms})
    return Outcome(answer if note is None else answer._replace(note=note))


def list_jobs(view: View, command: Command) -> Outcome:
    """Lists the jobs. A console gets the list as a stream, so that a million jobs need no memory for it."""
    listing = read_listing("sched_list", [Word(word, 0, 0) for word in command.words])
    after = BEFORE_ALL if listing.after is None else _place_of(view, listing.after)
    jobs: Iterable[ListedJob]
    if view.is_streamed:
        jobs = view.store.listed(after=after)
    else:
        assert not listing.searches, "a search is neither scheduled nor dropped"
        if listing.limit is not None:
            listing = replace(listing, limit=min(listing.limit, LIST_LIMIT_IN_RESULT))
        jobs = view.store.listed_here(LIST_LIMIT_IN_RESULT if listing.limit is None else listing.limit + 1, after)
    if view.is_streamed and view.status.degraded:
        # A store that cannot be read either is reported as an error. Later, the connection could only be closed.
        jobs = chain(list(islice(jobs, 1)), jobs)
    pages = _Pages(view.store.node, command, listing, MORE_COUNTED if view.is_streamed else 0)
    pieces = pages.as_json(jobs) if view.order.as_json else pages.as_text(jobs)
    return Outcome(Answer(pieces if view.is_streamed else "".join(pieces), is_json=view.order.as_json))


# A row as it was when it was listed: the id of its job and its due time in milliseconds.
_ROW = re.compile(r"(.+)@(-?[0-9]{1,15})", re.ASCII)


def _place_of(view: View, text: str) -> Place:
    """The place in the list of a row, or of a job as it is now."""
    if (row := _ROW.fullmatch(text)) and (number := job_number(view.store.node, row[1])) is not None:
        return int(row[2]), number
    job = find_job(view, text)
    if job.next_run_ms is None or not job.enabled:
        raise view.reject("E501", f"job {shortened(text)} is not in the list", "begin at the first row: `sched list`")
    return job.next_run_ms, job.number


class _Pages(NamedTuple):
    """The pieces of a list. A row that is not wanted makes an empty piece, so that others have their turn meanwhile.

    `most_counted`: after a list that is cut, at most this many further rows are counted.
    """

    node: str
    command: Command
    listing: Listing
    most_counted: int

    def as_text(self, jobs: Iterable[ListedJob]) -> Iterator[str]:
        """The bytes of Momentum's list: a recurrent job is marked with a space and `y`, any other with two spaces.

        Momentum has no paused jobs. A paused job has `p` in place of the first space.
        """
        yield LIST_HEADER
        last, listed, more = "", 0, 0
        for job in jobs:
            number = job_id(self.node, job.number)
            if not self._is_wanted(job, number):
                yield ""
            elif listed != self.listing.limit:
                mark = ("p" if job.paused else " ") + ("y" if job.recurrent else " ")
                yield f"{number}\t{job.next_run_ms // 1000}\t{mark}\t{job.command}\n"
                last, listed = number, listed + 1
            elif more < self.most_counted:
                yield ""
                more += 1
            else:
                yield self._more(f"more than {counted(more, 'more job')}" if more else "more jobs", last)
                return
        if more:
            yield self._more(counted(more, "more job"), last)

    def _more(self, number: str, last: str) -> str:
        return f"{number}: `{next_page(self.command, 'after', last)}`\n"

    def as_json(self, jobs: Iterable[ListedJob]) -> Iterator[str]:
        listed = 0
        for job in jobs:
            if listed == self.listing.limit:
                break
            number = job_id(self.node, job.number)
            if not self._is_wanted(job, number):
                yield ""
                continue
            row = {
                "id": number,
                "name": job.declared,
                "next_run_ms": job.next_run_ms,
                "recurrent": job.recurrent,
                "interval_ms": job.interval_ms,
                **calendar_data(job.calendar),
                "command": job.command,
                "user": job.user.name,
                "origin": job.origin,
                "paused": job.paused,
            }
            yield (", " if listed else "[") + json.dumps(row, ensure_ascii=False)
            listed += 1
        yield "]" if listed else "[]"

    def _is_wanted(self, job: ListedJob, number: str) -> bool:
        part = self.listing.find
        return part is None or part.lower() in f"{number} {job.declared or ''} {job.command}".lower()


def delete(view: View, command: Command) -> Outcome:
    """Removes a job and cancels its queued runs; a program that is running continues.

    The queued run of a job that is done can be cancelled too, although the job has no row any more.
    """
    number = number_of(view, command.words[0])
    job = view.store.jobs.get(number)
    if job is None and not view.store.runs.waits(number):
        raise unknown(view, command.words[0], number)
    if job is not None and job.declared is not None:
        declared = view.options.configuration.jobs.get(job.declared)
        place = declared.place if declared else "the stanza files"
        message = f'job {command.words[0]} is declared as job "{job.declared}" in {place}'
        raise view.reject("E502", message, "remove the stanza, or set `enabled = false` in it")
    view.store.jobs.delete(number)
    return Outcome(view.answer("", {"id": command.words[0], "deleted": True}), call_off=CallOff((number,), DELETED))


def history(view: View, command: Command) -> Outcome:
    """The last runs that are wanted, newest first. The last line of a cut list says how to get more.

    A console gets them as a stream.
    """
    listing = read_listing("sched_history", [Word(word, 0, 0) for word in command.words])
    number = number_of(view, listing.key) if listing.key is not None else None
    since, until = _past_instant(view, listing.since, FIRST), _past_instant(view, listing.until, LAST)
    active = None if listing.active is None else _past_instant(view, listing.active, FIRST)
    wanted = RunFilter(number, listing.state, since, until, active)
    before = None if listing.before is None else find_past_run(view, listing.before)
    if before is not None and number not in (None, before.key.job):
        message = f"run {run_id(view.store.node, before.key)} is not one of job {shortened(listing.key or '')}"
        raise view.reject("E501", message, "give a run of that job in `before`, or leave out the job")
    if listing.key is not None and number is not None and is_unknown(view, number):
        raise unknown(view, listing.key, number)
    limit = listing.limit or PAGE
    if view.is_streamed:
        runs = view.store.history(wanted, before, limit)
    else:
        runs = view.store.history_here(wanted, before, min(limit, LIST_LIMIT_IN_RESULT))
    waiting = view.store.runs.last_waiting(
        number, LAST if before is None else before.sequence, since, until, WAITING_LOOKED_UP
    )
    reasons = {run: view.ask.why_waits(run, reason) for run, reason in waiting.items()}
    rows = _HistoryRows(view, command, runs, reasons)
    pieces = rows.as_json() if view.order.as_json else rows.as_text()
    if view.is_streamed:
        return Outcome(Answer(pieces, is_json=view.order.as_json, rest=rows.rest if view.order.as_json else None))
    answer = Answer("".join(pieces), is_json=view.order.as_json)
    return Outcome(answer._replace(**rows.rest()._asdict()) if view.order.as_json else answer)


class _HistoryRows(NamedTuple):
    """The pieces of a list of runs. `reasons`: why the last runs that wait do so now, in place of the stored reasons."""

    view: View
    command: Command
    runs: FoundRuns
    reasons: Mapping[RunKey, str]

    def as_text(self) -> Iterator[str]:
        runs = self._runs()
        first = next(runs, None)  # Before the header: nothing is sent if the store cannot be read.
        yield HISTORY_HEADER
        for run in chain([first], runs):
            yield "" if run is None else _past_run(self.view, run)
        if more := self.rest().note:
            yield f"{more}\n"

    def as_json(self) -> Iterator[str]:
        before = "["
        for run in self._runs():
            if run is None:
                yield ""
                continue
            yield before + json.dumps(run_data(self.view.store.node, run, self.view.moment.boot), ensure_ascii=False)
            before = ", "
        yield "[]" if before == "[" else "]"

    def _runs(self) -> Iterator[PastRun | None]:
        for run in self.runs:
            if run is not None and run.state == RunState.QUEUED and run.key in self.reasons:
                yield run._replace(reason=self.reasons[run.key])
            else:
                yield run

    def rest(self) -> Rest:
        """How many more runs there are, and the command that lists them."""
        runs, node = self.runs, self.view.store.node
        last = runs.last if runs.more else runs.first_examined
        if last is None:
            return Rest()
        following = next_page(self.command, "before", run_id(node, last))
        if not runs.more:
            return Rest(f"the runs before {run_id(node, last)} were not searched: `{following}`", following)
        at_least = "at least " if runs.first_examined or runs.more == MORE_COUNTED else ""
        return Rest(f"{at_least}{counted(runs.more, 'more run')}: `{following}`", following)


def _past_run(view: View, run: PastRun) -> str:
    node = view.store.node
    status = "" if run.exit_status is None else str(run.exit_status)
    if run.exit_signal is not None:
        status = f"signal {run.exit_signal}"
    reason = run.reason or ""
    if run.missed_count and run.missed_since_ms is not None:
        job = view.store.jobs.get(run.key.job)
        since = due_text(view, job, run.missed_since_ms) if job else local_text(run.missed_since_ms, view.zone)
        reason = f"{run.missed_count} missed since {since}: {reason}"
    if run.on_failure_of:
        reason = f"on failure of {run_id(node, run.on_failure_of)}" + (f": {reason}" if reason else "")
    return (
        f"{run_id(node, run.key)}\t{run.due_ms // 1000}\t{run.state}\t{status}\t{run.command}\t{reason}".rstrip() + "\n"
    )


def run_now(view: View, command: Command) -> Outcome:
    """Adds one occurrence that is due now; the other due times do not move."""
    job = find_job(view, command.words[0])
    if job.command is None:
        raise view.reject(
            "E303", "the command of the job is no longer valid", "delete the job, and schedule a valid command"
        )
    by_a_job = view.order.arrived_ms is None
    if by_a_job and any(level.form == "sched_run" for level in job.command.nest()):
        raise view.reject("E303", "jobs could run each other endlessly", "schedule the inner command itself")
    return Outcome(claim=RunKey(job.number, job.occurrence + 1))


def answer_of_claim(view: View, key: RunKey) -> Answer:
    """The answer to a command that claimed a run. The command fails if the run was skipped or has failed."""
    run = view.store.runs.past(key)
    assert run is not None, key
    name = run_id(view.store.node, key)
    answer = view.answer(name, {"run": name, "state": run.state, "reason": run.reason})
    if run.state == RunState.QUEUED and view.status.hold is not None:
        end = "`sched release`" if view.status.hold.ends_ms is None else "the end of the hold"
        return answer._replace(
            note=f"it waits until {end}: the appliance is held {hold_text(view.status.hold, view.zone)}"
        )
    if run.state not in (RunState.SKIPPED, RunState.FAILED):
        return answer
    return answer._replace(error=f"run {outcome_text(view, run)}")
