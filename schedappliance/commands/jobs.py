"""`sched show|run|pause|resume`: what concerns one job."""

from __future__ import annotations

from typing import Any

from schedappliance.commands.context import Context
from schedappliance.commands.finding import find_job
from schedappliance.commands.why import outcome_text, time_text
from schedappliance.engine.effects import Answer
from schedappliance.engine.reasons import PAUSED
from schedappliance.engine.records import Job, RunKey, job_id, run_id
from schedappliance.engine.schedule import what_is_due
from schedappliance.model.commands import Command
from schedappliance.model.values import seconds_text
from schedappliance.store.runs import PastRun


def show(context: Context, command: Command) -> Answer:
    job = find_job(context, command.words[0])
    rows = _facts(context, job)
    text = "".join(f"{label.replace('_', ' ')}: {value}\n" for label, value in rows.items() if value is not None)
    if rows["output"]:
        text = text.replace(f"output: {rows['output']}\n", f"output:\n{rows['output']}")
    return context.answer(text, rows)


def _facts(context: Context, job: Job) -> dict[str, Any]:
    last = context.store.runs.history(job.number, 1)
    declared = context.options.configuration.jobs.get(job.declared) if job.declared else None
    return {
        "id": job_id(context.store.node, job.number),
        "command": job.text,
        "next_run": time_text(job.next_run_ms) if job.next_run_ms is not None else None,
        "every": None if job.interval_ms is None else f"{seconds_text(job.interval_ms)} seconds",
        "state": _state(job),
        "user": job.user.name,
        "uid": job.user.uid,
        "origin": job.origin,
        "declared": f'job "{job.declared}" in {declared.place}' if declared else None,
        "on_failure_of": run_id(context.store.node, job.on_failure_of) if job.on_failure_of else None,
        "occurrences": job.occurrence,
        "last_run": outcome_text(context, last[0]) if last else None,
        "output": _output(context, last[0]) if last else None,
    }


def _state(job: Job) -> str:
    if not job.enabled:
        return "disabled in its file"
    if job.paused:
        return "paused"
    return "waiting" if job.next_run_ms is not None else "done"


def _output(context: Context, run: PastRun) -> str | None:
    """What is kept of the output of the last run, or the answer of an internal command."""
    kept = context.store.runs.output(run.key)
    return kept[0].decode(errors="replace") if kept else None


def run_now(context: Context, command: Command) -> Answer:
    """One more occurrence, due now; the others stay where they are."""
    job = find_job(context, command.words[0])
    if job.command is None:
        raise context.refuse("E303", "the command of the job is no longer valid", "delete the job")
    by_a_job = context.arrived_ms is None
    if by_a_job and any(level.form == "sched_run" for level in job.command.nest()):
        raise context.refuse("E303", "jobs would run each other in a circle", "schedule the inner command alone")
    context.to_run.append(job.number)
    key = RunKey(job.number, job.occurrence + 1)
    text = run_id(context.store.node, key)
    return context.answer(text, {"run": text})


def pause(context: Context, command: Command) -> Answer:
    """Kept in the store, so that neither a restart nor a reload lets the job run; nor does what waits already."""
    job = find_job(context, command.words[0])
    context.called_off.append((job.number, PAUSED))
    context.store.jobs.pause(job.number, True)
    context.removed.add(job.number)
    return context.answer("", {"id": command.words[0], "paused": True})


def resume(context: Context, command: Command) -> Answer:
    """What came due meanwhile is not made up for; it is one row `missed`."""
    job = find_job(context, command.words[0])
    context.store.jobs.pause(job.number, False)
    context.removed.add(job.number)
    now = context.moment.wall
    if job.paused and job.next_run_ms is not None and job.next_run_ms <= now:
        context.passed.append((job, what_is_due(job.next_run_ms, job.interval_ms, now)))
    return context.answer("", {"id": command.words[0], "paused": False})
