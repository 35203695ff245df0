"""The tick: due jobs in the order (next run, id), each claimed in the transaction that advances it."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

from schedappliance.commands import perform
from schedappliance.commands.context import Awaited, Claimed, Context, Deferred, Refused, Retried, refusal
from schedappliance.commands.jobs import claimed
from schedappliance.core.audit import audit, changes
from schedappliance.core.authorization import job_must_wait, why_not
from schedappliance.core.clock import remember_tick
from schedappliance.core.configured import take_options
from schedappliance.core.failures import answer_failure
from schedappliance.core.programs import call_off, claim_program, stop
from schedappliance.core.state import State, Waiting
from schedappliance.diagnostics import counted
from schedappliance.engine.claims import CatchUp, Claim, MissedOccurrences, claim, claim_now
from schedappliance.engine.effects import Answer, ReadFiles
from schedappliance.engine.reasons import UNREADABLE, WHILE_PAUSED, Reason, refused
from schedappliance.engine.records import Job, RunKey
from schedappliance.engine.schedule import Due, Missed
from schedappliance.engine.states import RunState
from schedappliance.model.commands import Command
from schedappliance.store.runs import NewRun

# Jobs claimed in one transaction: enough to share the cost of a commit, few enough that the console is not kept waiting.
BATCH = 1000
MAX_KEPT_ANSWER = 64 * 1024
SUCCEEDED = RunState.SUCCEEDED
_FOR_SOMEBODY = (Awaited, Retried)


def tick(state: State) -> None:
    """Claims what is due, at most one batch; the loop comes back at once when more is due."""
    now, started = state.moment.wall, state.status.started.wall
    catch_up = CatchUp(state.configuration.catch_up, state.configuration.catch_up_within_ms)
    due = state.store.jobs.due(now, BATCH, state.users.held_jobs())
    if due:
        remember_tick(state)
    guarded = state.configuration.authorization is not None
    for job in due:
        if job.number in state.removed or (guarded and job_must_wait(state, job)):
            continue
        _carry_out(state, job, claim(job, now, started, catch_up, state.status.degraded))
        if state.stopping:
            return


def follow_up(state: State, context: Context) -> None:
    """What a command asked for that is more than its own rows: new options, runs to be claimed or called off."""
    take_options(state, context)
    for number, reason in context.called_off:
        call_off(state, number, reason)
    now = state.moment.wall
    for number in context.to_run:
        job = state.store.jobs.get(number)
        if job is not None:
            marked = job._replace(on_failure_of=context.on_failure_of or job.on_failure_of)
            _carry_out(state, marked, claim_now(job, now))
            state.removed.add(number)
    for job, due in context.passed:
        _record_paused(state, job, due)


def _record_paused(state: State, job: Job, due: Due) -> None:
    """The due times that passed while a job was paused: one row, and the job goes on with the next."""
    count = (due.missed.count if due.missed else 0) + 1
    since = due.missed.since_ms if due.missed else due.due_ms
    key = RunKey(job.number, job.occurrence + count)
    missed = Missed(count, since, due.due_ms)
    run = NewRun(key, due.due_ms, RunState.MISSED, WHILE_PAUSED, missed, ended_ms=state.moment.wall)
    state.store.runs.record(job, run, state.moment.wall)
    state.kept_runs += 1
    state.status.statistics.count(RunState.MISSED, count)
    if due.next_ms is None and job.declared is None:
        state.store.jobs.is_done(job.number)
    else:
        state.store.jobs.advance(job.number, key.occurrence, due.next_ms)


def _carry_out(state: State, job: Job, decision: Claim) -> None:
    if passed := decision.missed:
        _record_missed(state, job, passed)
    if decision.next_run_ms is None and job.declared is None:
        state.store.jobs.is_done(job.number)
    else:
        state.store.jobs.advance(job.number, decision.last, decision.next_run_ms)
    catching_up = len(decision.runs) > 1
    for occurrence in decision.runs:
        key = RunKey(job.number, occurrence.number)
        if job.command is None:
            _record_failed(state, job, key, occurrence.due_ms, UNREADABLE)
        elif reason := why_not(state, job.user, job.origin, job.command):
            _record_failed(state, job, key, occurrence.due_ms, reason)
            if job.command.bare.form == "run":
                answer_failure(state, key, job.command.bare.words[0], RunState.FAILED)
        elif job.command.bare.form == "run":
            claim_program(state, job, key, occurrence.due_ms, job.command.bare, catching_up)
        else:
            _perform(state, job, key, occurrence.due_ms, job.command)


def _record_missed(state: State, job: Job, passed: MissedOccurrences) -> None:
    key = RunKey(job.number, passed.occurrence)
    latest = passed.missed.latest_ms
    run = NewRun(key, latest, RunState.MISSED, passed.reason, passed.missed, ended_ms=state.moment.wall)
    state.store.runs.record(job, run, state.moment.wall)
    state.kept_runs += 1
    state.status.statistics.count(RunState.MISSED, passed.missed.count)
    state.log("warning", f"job {state.named(key)}: {counted(passed.missed.count, 'due time')} missed: {passed.reason}")


def _record_failed(state: State, job: Job, key: RunKey, due_ms: int, reason: Reason) -> None:
    """A newer grammar may refuse what an older one took, and newer roles what older ones allowed."""
    now = state.moment.wall
    state.store.runs.record(job, NewRun(key, due_ms, RunState.FAILED, reason, ended_ms=now), now)
    state.begins(key, RunState.FAILED)
    state.log("warning", f"run {state.named(key)} failed: {reason}")


def _perform(state: State, job: Job, key: RunKey, due_ms: int, command: Command) -> None:
    """An internal command takes effect in this transaction: exactly once."""
    context = state.context(job.user, job.origin, command.text, None, on_failure_of=job.on_failure_of)
    now = state.moment.wall
    answer = _answer(context, command)
    follow_up(state, context)
    if isinstance(answer, Claimed):
        answer = claimed(context, answer)
    elif isinstance(answer, Deferred):
        state.store.runs.record(job, NewRun(key, due_ms, RunState.STARTED), now)
        state.begins(key, RunState.STARTED)
        read_files(state, Waiting(command.text, job.user, run=key, as_json=context.as_json), typed=False)
        return
    if answer.error is None:
        how, why = SUCCEEDED, None
    else:
        how, why = RunState.FAILED, refused(answer.error)
    run = NewRun(key, due_ms, how, why, None, None, now, kept(answer) or None)
    state.store.runs.record(job, run, now)
    state.begins(key, how)
    if why is not None or changes(command):
        audit(state, job.user.name, job.user.uid, "job", command.text, answer)
    if why is not None:
        state.log("warning", f"sched: command: {command.text} returned: {why}")
    if context.stop:
        stop(state, f"job {state.named(key)} of user {job.user.name}")


def _answer(context: Context, command: Command) -> Answer | Deferred | Claimed:
    try:
        answer = perform(context, command)
    except Refused as refused:
        return refusal(refused)
    assert not isinstance(answer, _FOR_SOMEBODY), "nobody waits for a scheduled command"
    return answer


def kept(answer: Answer) -> str:
    """The part of an answer that is kept with a run."""
    if isinstance(answer.output, str):
        return answer.output[:MAX_KEPT_ANSWER]
    return "".join(islice(answer.output, 1000))[:MAX_KEPT_ANSWER]


def read_files(state: State, waiting: Waiting, typed: bool) -> None:
    """Has the files read aside; `waiting` hears the result."""
    waiting = replace(waiting, options=state.options)
    state.effects.append(ReadFiles(await_answer(state, waiting), typed))


def await_answer(state: State, waiting: Waiting) -> int:
    """What the event that brings the answer will name."""
    token = state.next_token
    state.next_token += 1
    state.waiting[token] = waiting
    return token
