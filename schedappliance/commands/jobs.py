"""`sched run|pause|resume`: what a person does to a job."""

from __future__ import annotations

from typing import Any

from schedappliance.commands.context import Claimed, Context
from schedappliance.commands.finding import find_job
from schedappliance.commands.past import outcome_text, time_text
from schedappliance.commands.planned import never_runs
from schedappliance.diagnostics import counted
from schedappliance.engine.effects import Answer
from schedappliance.engine.reasons import PAUSED
from schedappliance.engine.records import Job, RunKey, job_id, run_id
from schedappliance.engine.schedule import Due, what_is_due
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
    context.to_run += (job.number,)
    return Claimed(RunKey(job.number, job.occurrence + 1))


def claimed(context: Context, found: Claimed) -> Answer:
    """What became of it at once: a run that is skipped, or has failed, is no success of whoever asked for it."""
    run = context.store.runs.past(found.key)
    assert run is not None, found.key
    name = run_id(context.store.node, run.key)
    answer = context.answer(name, {"run": name, "state": run.state, "reason": run.reason})
    if run.state not in (RunState.SKIPPED, RunState.FAILED):
        return answer
    return answer._replace(error=f"run {outcome_text(context, run)}")


def pause(context: Context, command: Command) -> Answer:
    """Kept in the store, so that neither a restart nor a reload lets the job run; nor does what waits already."""
    job = find_job(context, command.words[0])
    context.called_off += ((job.number, PAUSED),)
    context.store.jobs.pause(job.number, True)
    context.removed.add(job.number)
    said = "it was paused already" if job.paused else never_runs(job)
    return context.answer(_told(context, job, said), _data(context, job) | {"paused": True})


def resume(context: Context, command: Command) -> Answer:
    """What came due meanwhile is not made up for; it is one row `missed`."""
    job = find_job(context, command.words[0])
    context.store.jobs.pause(job.number, False)
    context.removed.add(job.number)
    passed = _passed(job, context.moment.wall)
    if passed:
        context.passed += ((job, passed),)
    said = [None if job.paused else "it was not paused", _missed(passed) if passed else None, never_runs(job)]
    data = _data(context, job) | {
        "paused": False,
        "missed": _count(passed) if passed else 0,
        "next_run_ms": passed.next_ms if passed else job.next_run_ms,
    }
    return context.answer(_told(context, job, "; ".join(filter(None, said))), data)


def _data(context: Context, job: Job) -> dict[str, Any]:
    return {"id": job_id(context.store.node, job.number), "name": job.declared, "was_paused": job.paused}


def _told(context: Context, job: Job, said: str | None) -> str:
    """Silent when there is nothing that whoever gave the command may not expect."""
    return f"{job_id(context.store.node, job.number)}: {said}" if said else ""


def _passed(job: Job, now_ms: int) -> Due | None:
    """The due times that came while the job was paused."""
    if not job.paused or job.next_run_ms is None or job.next_run_ms > now_ms:
        return None
    return what_is_due(job.next_run_ms, job.interval_ms, now_ms)


def _count(passed: Due) -> int:
    return 1 + (passed.missed.count if passed.missed else 0)


def _missed(passed: Due) -> str:
    missed = f"{counted(_count(passed), 'due time')} passed while it was paused, and will not be made up for"
    if passed.next_ms is None:
        return f"{missed}; it does not run again"
    return f"{missed}; the next is {time_text(passed.next_ms)}"
