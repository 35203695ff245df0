"""`sched why`: what decides a job's next run, why its runs wait, and why one did not do its work."""

from __future__ import annotations

import re

from schedappliance.clock import iso
from schedappliance.commands.lookup import files_refused, find_run, number_of, unknown, unknown_run
from schedappliance.commands.outcome import Outcome
from schedappliance.commands.phrases import (
    as_now,
    job_state,
    never_runs,
    outcome_text,
    run_data,
    time_text,
    while_paused,
)
from schedappliance.commands.view import View
from schedappliance.engine.authorization import why_not_run
from schedappliance.engine.launch import prepare
from schedappliance.engine.records import Job, RunKey, job_id, run_id
from schedappliance.engine.states import RunState
from schedappliance.model.commands import Command
from schedappliance.model.values import seconds_text
from schedappliance.store.runs import PastRun

LIVE = frozenset({RunState.STARTED, RunState.QUEUED})
# States of a run that say why an occurrence did not do its work.
NOT_DONE = frozenset(RunState) - LIVE - {RunState.SUCCEEDED}
LOOKED_BACK = 1000
LIVE_SHOWN = 20

GONE = "it does not run again: it is done, or was deleted"
GONE_DECLARED = "it does not run again: it is done, was deleted, or is no longer declared"
LAST = "nothing more is planned after this:"

# What becomes of the next due time while a run has not ended.
MEANWHILE = {
    "skip": "is skipped",
    "queue": "waits for it, unless another one waits already",
    "parallel": "runs beside it",
    "replace": "takes its place",
}


def why(view: View, command: Command) -> Outcome:
    """Of a job, of a job that is gone, or of one run."""
    word = command.words[0]
    if key := find_run(view, word):
        return _why_run(view, word, key)
    number = number_of(view, word)
    job = view.store.jobs.get(number)
    past = view.store.runs.history(number, LOOKED_BACK)
    if job is None and not past:
        raise unknown(view, word, number)
    live = as_now(view, [run for run in past if run.state in LIVE])[::-1]
    ended = [run for run in past if run.state not in LIVE]
    not_done = next((run for run in ended if run.state in NOT_DONE), None)
    said = {
        "next": _next(view, job, bool(live)) if job else [LAST if live else _gone(view, past[0])],
        "now": [_now(view, run) for run in live[:LIVE_SHOWN]],
        "past": _past(view, ended, not_done),
    }
    node = view.store.node
    data = {
        "id": job_id(node, number),
        "name": job.declared if job else None,
        "state": job_state(job) if job else "gone",
        "next_run_ms": job.next_run_ms if job else None,
        "interval_ms": job.interval_ms if job else None,
        "live": [run_data(node, run) for run in live[:LIVE_SHOWN]],
        "last_run": run_data(node, ended[0]) if ended else None,
        "last_not_done": run_data(node, not_done) if not_done else None,
    }
    return Outcome(view.answer(_text(said), data | said))


def _why_run(view: View, text: str, key: RunKey) -> Outcome:
    run = view.store.runs.past(key)
    if run is None:
        raise unknown_run(view, text, key)
    (run,) = as_now(view, [run])
    said = {"now": [_now(view, run)], "past": []} if run.state in LIVE else {"now": [], "past": [_ended(view, run)]}
    return Outcome(view.answer(_text(said), run_data(view.store.node, run) | said))


def _text(said: dict[str, list[str]]) -> str:
    return "\n".join(line for lines in said.values() for line in lines)


def _next(view: View, job: Job, is_live: bool) -> list[str]:
    lines = [_what_is_next(view, job), *files_refused(view)]
    if job.enabled and job.paused and job.next_run_ms is not None:
        lines.append(while_paused(job.next_run_ms, view.moment.wall))
    waits_for_its_time = job.enabled and not job.paused and job.next_run_ms is not None
    if waits_for_its_time and (fault := _fault(view, job)):
        lines.append(f"it will fail: {fault}")
    elif waits_for_its_time and is_live and (meanwhile := _meanwhile(view, job)):
        lines.append(f"if its last run has not ended by then, the next one {meanwhile}")
    if job.on_failure_of:
        lines.append(f"`on_failure` made it: run {run_id(view.store.node, job.on_failure_of)} failed")
    return lines


def _what_is_next(view: View, job: Job) -> str:
    if never := never_runs(job):
        return never
    if job.paused:
        return "it does not run: it is paused; `sched resume` lets it run again"
    assert job.next_run_ms is not None
    due = time_text(job.next_run_ms)
    if job.next_run_ms <= view.moment.wall:
        held_up = f"as soon as it can be recorded: {view.status.degraded}" if view.status.degraded else "at once"
        return f"it has been due since {due}; it runs {held_up}"
    if job.interval_ms is None:
        return f"it runs once, at {due}"
    period = seconds_text(job.interval_ms)
    if job.declared:
        return f"it runs next at {due}: the next multiple of {period} seconds, as its stanza says"
    return f"it runs next at {due}: {period} seconds after its last due time"


def _fault(view: View, job: Job) -> str | None:
    """What would keep the job's command from being carried out, or its program from being started, now."""
    if job.command is None:
        return "its command is no longer valid"
    if reason := _not_authorized(view, job, job.command):
        return reason
    if job.command.bare.form != "run":
        return None
    found = prepare(view.options, job.command.bare)
    if not isinstance(found, str):
        return None
    program = job.command.bare.words[0]
    if program in view.options.configuration.programs:
        return found
    return f"{found}{_since_when_undeclared(view, program)}"


def _not_authorized(view: View, job: Job, command: Command) -> str | None:
    authorization, known = view.options.configuration.authorization, view.known_user(job.user.uid)
    if authorization is None or known is None or job.origin == "stanza":
        return None
    return why_not_run(authorization, known, job.user, command)


def _since_when_undeclared(view: View, program: str) -> str:
    since = _taken_away(view, rf"""^[ \t]*program\s+["']?{re.escape(program)}["']?\s*[{{<]""")
    return f" since {since}" if since else ""


def _taken_away(view: View, stanza: str) -> str | None:
    """The generation that took away what a pattern finds in the files before, as far as the kept ones tell."""
    pattern, since = re.compile(stanza, re.IGNORECASE | re.MULTILINE), None
    for generation, _ in view.store.settings.generations():
        texts = view.store.settings.texts(generation.number) or {}
        if any(pattern.search(text) for text in texts.values()):
            return f"generation {since.number} ({iso(since.applied_ms)})" if since else None
        since = generation
    return None


def _gone(view: View, last: PastRun) -> str:
    """Of a job that the stanza files made only the files of then know more."""
    if last.origin != "stanza" or last.on_failure_of:
        return GONE
    command = rf"""\bcommand\s*=\s*(["']?){re.escape(last.command)}\1\s*(?:$|[}}>#\w])"""
    since = _taken_away(view, command)
    return f"it does not run again: no stanza has its command since {since}" if since else GONE_DECLARED


def _meanwhile(view: View, job: Job) -> str | None:
    if job.command is None or job.command.bare.form != "run":
        return None
    overlap = view.options.configuration.programs[job.command.bare.words[0]].overlap
    return f"{MEANWHILE[overlap]} (`overlap = {overlap}`)"


def _now(view: View, run: PastRun) -> str:
    name, since = run_id(view.store.node, run.key), f"due {time_text(run.due_ms)}"
    if run.state == RunState.QUEUED:
        return f"queued: {name}, {since}: {run.reason}"
    return f"running: {name}, {since}" + (f", attempt {run.attempts}" if run.attempts > 1 else "")


def _past(view: View, ended: list[PastRun], not_done: PastRun | None) -> list[str]:
    """The last run, and the last one that did not do its work."""
    lines = [f"its last run: {_ended(view, ended[0])}"] if ended else []
    if not_done and not_done is not ended[0]:
        lines.append(f"the last that did not succeed: {_ended(view, not_done)}")
    return lines


def _ended(view: View, run: PastRun) -> str:
    attempts = f", after {run.attempts} attempts" if run.attempts > 1 else ""
    if run.missed_count and run.missed_count > 1 and run.missed_since_ms is not None:
        due = f"{run.missed_count} due times from {time_text(run.missed_since_ms)} to {time_text(run.due_ms)}"
    else:
        due = f"due {time_text(run.due_ms)}"
    return f"{outcome_text(view, run)}, {due}{attempts}"
