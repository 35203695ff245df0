"""`sched run|pause|resume`: what a person does to a job."""

from __future__ import annotations

from dataclasses import replace

from schedappliance.commands.context import Claimed, Context
from schedappliance.commands.finding import find_job
from schedappliance.commands.past import outcome_text
from schedappliance.engine.effects import Answer
from schedappliance.engine.records import RunKey, job_id, run_id
from schedappliance.engine.schedule import what_is_due
from schedappliance.engine.states import RunState
from schedappliance.model.commands import Command


def run_now(context: Context, command: Command) -> Claimed:
    """One more occurrence, due now; the others stay where they are."""
    job = find_job(context, command.words[0])
    if job.command is None:
        raise context.refuse("E303", "the command of the job is no longer valid", "delete the job")
    by_a_job = context.arrived_ms is None
    if by_a_job and any(level.form == "sched_run" for level in job.command.nest()):
        raise context.refuse("E303", "jobs would run each other in a circle", "schedule the inner command alone")
    context.to_run.append(job.number)
    return Claimed(RunKey(job.number, job.occurrence + 1))


def claimed(context: Context, found: Claimed) -> Answer:
    """What became of it at once: a run that is skipped, or has failed, is no success of whoever asked for it."""
    run = context.store.runs.past(found.key)
    assert run is not None, found.key
    name = run_id(context.store.node, run.key)
    answer = context.answer(name, {"run": name, "state": run.state, "reason": run.reason})
    if run.state not in (RunState.SKIPPED, RunState.FAILED):
        return answer
    return replace(answer, error=f"run {outcome_text(context, run)}")


def pause(context: Context, command: Command) -> Answer:
    """Kept in the store, so that neither a restart nor a reload lets the job run."""
    job = find_job(context, command.words[0])
    context.store.jobs.pause(job.number, True)
    context.removed.add(job.number)
    return context.answer("", {"id": job_id(context.store.node, job.number), "paused": True})


def resume(context: Context, command: Command) -> Answer:
    """What came due meanwhile is not made up for; it is one row `missed`."""
    job = find_job(context, command.words[0])
    context.store.jobs.pause(job.number, False)
    context.removed.add(job.number)
    now = context.moment.wall
    if job.paused and job.next_run_ms is not None and job.next_run_ms <= now:
        context.passed.append((job, what_is_due(job.next_run_ms, job.interval_ms, now)))
    return context.answer("", {"id": job_id(context.store.node, job.number), "paused": False})
