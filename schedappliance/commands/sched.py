"""`sched at|in|every|list|delete|history`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from schedappliance.clock import iso
from schedappliance.commands.context import Context, check_room
from schedappliance.commands.finding import number_of, unknown
from schedappliance.commands.past import as_now, run_data
from schedappliance.engine.effects import Answer
from schedappliance.engine.reasons import DELETED
from schedappliance.engine.records import Kind, NewJob, job_id, run_id
from schedappliance.model.commands import Command
from schedappliance.store.jobs import ListedJob
from schedappliance.store.runs import PastRun

# A time typed a little late is still meant; one that is further past is a mistake.
PAST_GRACE_MS = 60_000
LIST_LIMIT_IN_RESULT = 1000
HISTORY_LIMIT = 100

LIST_HEADER = "JOB ID        \t    NEXT RUN TIME\tREC\tCOMMAND\n"
HISTORY_HEADER = "RUN ID        \tDUE TIME\tSTATE\tSTATUS\tCOMMAND\tREASON\n"


def schedule_at(context: Context, command: Command) -> Answer:
    due = command.milliseconds
    assert due is not None
    arrived = context.arrived_ms
    if arrived is not None and due < arrived - PAST_GRACE_MS:
        found = f"{due // 1000} ({iso(due)}) has passed: it is {arrived // 1000} ({iso(arrived)})"
        raise context.refuse("E503", found, "give a time to come, or `run` the command now")
    return _add(context, command, "at", due, None)


def schedule_in(context: Context, command: Command) -> Answer:
    assert command.milliseconds is not None
    return _add(context, command, "in", context.moment.wall + command.milliseconds, None)


def schedule_every(context: Context, command: Command) -> Answer:
    interval = command.milliseconds
    assert interval is not None
    return _add(context, command, "every", context.moment.wall + interval, interval)


def _add(context: Context, command: Command, kind: Kind, next_run_ms: int, interval_ms: int | None) -> Answer:
    assert command.inner is not None
    check_room(context)
    job = NewJob(
        kind,
        next_run_ms,
        interval_ms,
        command.inner,
        context.user,
        context.origin,
        on_failure_of=context.on_failure_of,
    )
    number = context.store.jobs.add(job, context.moment.wall)
    text = job_id(context.store.node, number)
    return context.answer(text, {"id": text, "next_run_ms": next_run_ms})


def list_jobs(context: Context, _command: Command) -> Answer:
    """Streamed: however many jobs there are, the list is never built whole."""
    node = context.store.node
    jobs: Iterable[ListedJob]
    jobs = context.store.listed() if context.streamed else context.store.listed_here(LIST_LIMIT_IN_RESULT)
    pieces = _list_as_json(node, jobs) if context.as_json else _list_as_text(node, jobs)
    return Answer(pieces if context.streamed else "".join(pieces), is_json=context.as_json)


def _list_as_text(node: str, jobs: Iterable[ListedJob]) -> Iterator[str]:
    """The bytes of Momentum's list: a recurrent job has a blank and `y`, another two blanks."""
    yield LIST_HEADER
    for job in jobs:
        mark = " y" if job.interval_ms is not None else "  "
        yield f"{job_id(node, job.number)}\t{job.next_run_ms // 1000}\t{mark}\t{job.command}\n"


def _list_as_json(node: str, jobs: Iterable[ListedJob]) -> Iterator[str]:
    separator = "["
    for job in jobs:
        row = {
            "id": job_id(node, job.number),
            "name": job.declared,
            "next_run_ms": job.next_run_ms,
            "recurrent": job.interval_ms is not None,
            "interval_ms": job.interval_ms,
            "command": job.command,
            "user": job.user.name,
            "origin": job.origin,
            "paused": job.paused,
        }
        yield separator + json.dumps(row, ensure_ascii=False)
        separator = ", "
    yield "[]" if separator == "[" else "]"


def delete(context: Context, command: Command) -> Answer:
    """Removes the row and calls off what waits; a program that runs goes on. A job that is done may have a run that waits."""
    number = number_of(context, command.words[0])
    job = context.store.jobs.get(number)
    if job is None and not context.store.runs.waits(number):
        raise unknown(context, command.words[0], number)
    if job is not None and job.declared is not None:
        declared = context.options.configuration.jobs.get(job.declared)
        place = declared.place if declared else "the stanza files"
        found = f'job {command.words[0]} is declared as job "{job.declared}" in {place}'
        raise context.refuse("E502", found, "remove it there, or set `enabled = false`")
    context.store.jobs.delete(number)
    context.removed.add(number)
    context.called_off += ((number, DELETED),)
    return context.answer("", {"id": command.words[0], "deleted": True})


def history(context: Context, command: Command) -> Answer:
    """The last runs, the newest first."""
    number = number_of(context, command.words[0]) if command.words else None
    runs = as_now(context, context.store.runs.history(number, HISTORY_LIMIT))
    if number is not None and not runs and context.store.jobs.get(number) is None:
        raise unknown(context, command.words[0], number)
    node = context.store.node
    text = HISTORY_HEADER + "".join(_past_run(node, run) for run in runs)
    return context.answer(text, [run_data(node, run) for run in runs])


def _past_run(node: str, run: PastRun) -> str:
    status = "" if run.exit_status is None else str(run.exit_status)
    if run.exit_signal is not None:
        status = f"signal {run.exit_signal}"
    reason = run.reason or ""
    if run.missed_count and run.missed_since_ms is not None:
        reason = f"{run.missed_count} missed since {iso(run.missed_since_ms)}: {reason}"
    if run.on_failure_of:
        reason = f"on failure of {run_id(node, run.on_failure_of)}" + (f": {reason}" if reason else "")
    return (
        f"{run_id(node, run.key)}\t{run.due_ms // 1000}\t{run.state}\t{status}\t{run.command}\t{reason}".rstrip() + "\n"
    )
