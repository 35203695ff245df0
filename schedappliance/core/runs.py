"""Runs of programs: how they are claimed, queued, started and ended, and what `on_failure` adds.

Rule: a program starts after the commit that claims its run, once for each attempt.
"""

# The good path of a run, and the functions that it passes:
#
#   claim_program    The job is due, and there is a place: the run is recorded as `started`, and `_launch` returns StartProgram.
#   program_started  The keeper has started the process: its pid is stored.
#   program_ended    The process has ended: `finish_attempt` records the end of the attempt, and `end_run` that of the run.
#
# What can go wrong, and what then happens:
#
#   there is no place       `_queue` records the run as `queued`. `start_queued` starts it in a later turn.
#   the program is unknown  `prepare` returns CannotStart, and the run ends as `failed` when it is claimed.
#   the attempt fails       `conclude` (engine/attempts.py) decides; `_queue_again` lets the next attempt wait for its time.
#   the timeout passes      `send_signals` (stopping.py) sends TERM, then KILL after `kill_after`. `program_ended` follows.
#
# One verb for each end: a program is terminated, an attempt is finished, a run is ended, a run that waits is called off.
#
# docs/architecture.md, "A due job", follows one job through all files.

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from schedappliance.commands.view import LONG, MANY, MOST_WAITING, NO_NUMBERS, half_of
from schedappliance.core.alerts import end_incidents_of_gone, expect_late_end, message_of, run_ended, run_started
from schedappliance.core.authorization import ask_for_user_of_run, why_forbidden
from schedappliance.core.places import has_place, has_room, program_has_room
from schedappliance.core.queue import Waiter, turn_about
from schedappliance.core.stopping import terminate
from schedappliance.core.unseen import follow_unseen
from schedappliance.diagnostics import counted
from schedappliance.engine.attempts import (
    EXHAUSTED_DELAY_MS,
    Admission,
    Again,
    CannotStart,
    Cause,
    Ending,
    Exit,
    Launch,
    Lost,
    NotStarted,
    Running,
    Siblings,
    admit,
    conclude,
    failure_environment,
    policy_of,
    prepare,
)
from schedappliance.engine.effects import DiscardOutput, StartProgram
from schedappliance.engine.events import ProgramEnded, ProgramNotStarted, ProgramStarted
from schedappliance.engine.reasons import (
    AFTER_REPLACED,
    HELD,
    NEWER,
    NO_PLACE,
    PERHAPS_NOT_STARTED,
    STOPPED,
    TOO_MANY_WAIT,
    UNREADABLE,
    Reason,
)
from schedappliance.engine.records import CONFIG_USER, AttemptKey, Job, NewJob, RunKey, User, job_id, run_environment
from schedappliance.engine.schedule import Claim, Due, Missed, MissedOccurrences
from schedappliance.engine.states import FAILURES, RunState
from schedappliance.model.commands import Command, pack
from schedappliance.model.configuration import Program
from schedappliance.store.runs import NewRun, may_be_long

if TYPE_CHECKING:
    from schedappliance.core.state import State
    from schedappliance.store.history import PastRun

FIRST_ATTEMPT = 1


# Claims, and due times that pass without one


def claim_program(state: State, job: Job, key: RunKey, due_ms: int, command: Command, catching_up: bool) -> None:
    """Claims the run of a due job: starts it if a place is free, else queues it. `overlap` may skip it instead."""
    program = state.configuration.programs.get(command.words[0])
    overlap = program.overlap if program else "skip"
    admission, reason = admit(overlap, _siblings(state, job.number), catching_up)
    if admission is Admission.SKIP:
        not_started(state, job, key, due_ms, RunState.SKIPPED, reason)
        return
    if isinstance(launch := prepare(state.options, command), CannotStart):
        not_started(state, job, key, due_ms, RunState.FAILED, launch.reason)
        answer_failure(state, key, command.words[0], RunState.FAILED)
        return
    if admission is Admission.REPLACE:
        _replace_siblings(state, job.number)
    is_behind = state.queue.number and state.queue.has_ready
    may_start = admission is Admission.START and not is_behind
    if may_start and not catching_up and _ends_at_once(state, job, key, due_ms, command.words[0]):
        return
    if may_start and has_room(state, command.words[0], state.guest(job.user)):
        first = AttemptKey(key, FIRST_ATTEMPT)
        # Before the rows: what it reads writes the deferred rows, and the row of a run must come before its attempt.
        effect = _start_program(state, first, due_ms, launch, job.on_failure_of, _may_deliver(job))
        state.store.runs.record(job, NewRun(key, due_ms, RunState.STARTED, attempts=FIRST_ATTEMPT), state.moment.wall)
        state.note_claim(key, RunState.STARTED)
        _launch(state, launch.program, effect, job.user, waited_ms=0)
    elif _has_many_waiting(state, job):
        not_started(state, job, key, due_ms, RunState.SKIPPED, TOO_MANY_WAIT)
    else:
        _queue(state, job, key, due_ms, command, admission, reason)


def _has_many_waiting(state: State, job: Job) -> bool:
    """Whether no further run of the job may wait: as many of it wait as may, or of its user as that user may have jobs."""
    if (waiting := state.queue.of_guests.get(job.user.uid)) is None:
        return False
    is_long = waiting >= MANY and (len(job.text) > LONG or state.queue.number_of(job.number) >= MOST_WAITING)
    return is_long or waiting >= half_of(state.configuration.max_jobs)


def _ends_at_once(state: State, job: Job, key: RunKey, due_ms: int, program: str) -> bool:
    """Records a run whose program takes no time. False if it takes some, or if no place becomes free in this instant."""
    instant = state.instant
    if not instant.includes(job):
        return False
    why = None
    guest = state.guest(job.user)
    if has_room(state, program, guest):
        instant.take_place(program, guest)
    elif instant.of_program[program] or (instant.places and program_has_room(state, program)):
        why = NO_PLACE
    else:
        return False
    now = state.moment.wall
    run = NewRun(key, due_ms, RunState.SUCCEEDED, why, ended_ms=now, attempts=FIRST_ATTEMPT)
    state.store.runs.record(job, run, now)
    state.note_claim(key, run.state)
    count_end_at_claim(state, job, run)
    return True


def _siblings(state: State, job: int) -> Siblings:
    """The other runs of a job that have not ended."""
    live = state.live.of_job(job)
    blocked = state.queue.blocked_of(job) if state.queue.number else 0
    return Siblings(live - blocked, blocked, live > blocked and bool(state.running.of_job(job)))


def _queue(
    state: State, job: Job, key: RunKey, due_ms: int, command: Command, admission: Admission, reason: Reason | None
) -> None:
    # `overlap = replace` may have ended a run that waited. Then this run is the only one of its job: it waits only for a place.
    is_next = admission is Admission.START or state.live.of_job(job.number) == 0
    reason = None if is_next else reason
    why = reason or (HELD if state.status.hold is not None else STOPPED if state.stopping else NO_PLACE)
    run = NewRun(key, due_ms, RunState.QUEUED, why, packed=pack(command))
    sequence = state.store.runs.add(job, run, state.moment.wall)
    turn = turn_of_alert(state, job.number) if _may_deliver(job) else None
    waiter = Waiter(sequence, key, command.words[0], state.guest(job.user), turn)
    state.note_claim(key, RunState.QUEUED)
    if is_next:
        state.queue.add(waiter)
    else:
        state.queue.block(waiter)


def _may_deliver(job: Job) -> bool:
    """Whether the job may deliver an alert: only such jobs do; see `_add_alert` in alerts.py."""
    return job.kind == "run" and job.origin == "stanza"


def turn_of_alert(state: State, job: int) -> int | None:
    """Whose turn the delivery of an alert takes; None if the job delivers none."""
    return turn_about(state.store.incidents.users(job), state.status.trusted)


def not_started(state: State, job: Job, key: RunKey, due_ms: int, how: RunState, reason: Reason | None) -> None:
    """Records a run that ends when it is claimed, with the reason."""
    run = NewRun(key, due_ms, how, reason, ended_ms=state.moment.wall)
    state.store.runs.record(job, run, state.moment.wall)
    state.note_claim(key, how)
    count_end_at_claim(state, job, run)
    text = f"run {state.named(key)} {how.value}: {reason}"
    state.log(
        "warning",
        text if job.declared is None else f"{text} ({job.declared})",
        share_of_runs(state, job.user.uid),
        **_run_fields(state, key, how),
        **_job_fields(job),
    )


def record_missed(state: State, job: Job, passed: MissedOccurrences) -> RunKey:
    """Records one row for all due times that passed; returns its key."""
    key = RunKey(job.number, passed.occurrence)
    missed = passed.missed
    now = state.moment.wall
    run = NewRun(key, missed.latest_ms, RunState.MISSED, passed.reason, missed, ended_ms=now)
    state.store.runs.record(job, run, now)
    count_end_at_claim(state, job, run)
    state.count("due_times_missed_total", number=missed.count)
    state.pruning.stored_runs += 1
    state.statistics.ended[RunState.MISSED] += missed.count
    return key


def advance_by_claim(state: State, job: Job, decision: Claim) -> None:
    """Records the due times that are missed, and advances the job."""
    if passed := decision.missed:
        key = record_missed(state, job, passed)
        count = counted(passed.missed.count, "due time")
        text = f"job {state.named(key)}: {count} missed: {passed.reason}"
        state.log("warning", text, share_of_runs(state, job.user.uid))
    _advance(state, job, decision.last, decision.next_run_ms)


def miss_and_advance(state: State, job: Job, due: Due, reason: Reason) -> None:
    """Records due times that will not run as one row, and advances the job."""
    count, since = (due.missed.count + 1, due.missed.since_ms) if due.missed else (1, due.due_ms)
    passed = MissedOccurrences(job.occurrence + count, Missed(count, since, due.due_ms), reason)
    record_missed(state, job, passed)
    state.handled.add(job.number)
    _advance(state, job, passed.occurrence, due.next_ms)
    end_incidents_of_gone(state, job.number)


def _advance(state: State, job: Job, last: int, next_run_ms: int | None) -> None:
    """Advances a job past occurrence `last`. A job with no further due time is removed, unless a stanza declares it."""
    if next_run_ms is None and job.declared is None:
        state.store.jobs.remove(job.number, job.user.uid)
    else:
        state.store.jobs.advance(job.number, last, next_run_ms)
        state.metrics.note_due(job.number, next_run_ms)


# Starts


def start_queued(state: State) -> None:
    """Starts as many waiting runs as there are free places: in the order of their claims, but guests take turns."""
    has_room_for = partial(program_has_room, state)
    while state.may_start:
        waiter = state.queue.take(has_room_for, state.guests_fit) if has_place(state) else None
        if waiter is not None:
            _start_unless_blocked(state, waiter)
        elif not (state.queue.pass_guests(has_room_for) and has_place(state)):
            return


def _start_unless_blocked(state: State, waiter: Waiter) -> None:
    if not state.runs_in_parallel(waiter.program) and state.running.of_job(waiter.key.job):
        # `overlap` was `parallel` when the other run of the job started, and is not any more: this attempt waits for it.
        state.queue.block(waiter)
        state.queue.release_program(waiter.program)
    else:
        _start(state, waiter)


def _start(state: State, waiter: Waiter) -> None:
    """Starts a run that has waited. It may have to wait for its user. It may fail: programs and roles may have changed."""
    key, program = waiter.key, waiter.program
    run = state.store.runs.next_start(key)
    command = run.command
    if ask_for_user_of_run(state, run.user, run.origin):
        state.queue.wait_for_user(run.user.uid, waiter)
        state.queue.release_program(program)
        return
    attempt = AttemptKey(key, run.attempts + 1)
    launch: Launch | CannotStart = CannotStart(UNREADABLE)
    if command is not None and (reason := why_forbidden(state, run.user, run.origin, command)):
        launch = CannotStart(reason)
    elif command is not None:
        launch = prepare(state.options, command)
    if isinstance(launch, CannotStart):
        end_run(state, key, RunState.FAILED, launch.reason, state.moment.wall)
        state.queue.release_program(program)
        answer_failure(state, key, program, RunState.FAILED)
    else:
        effect = _start_program(state, attempt, run.due_ms, launch, run.on_failure_of, run.origin == "stanza")
        state.store.runs.start(attempt)
        _launch(state, launch.program, effect, run.user, state.moment.wall - run.claimed_ms if run.is_first else None)


def _start_program(
    state: State, key: AttemptKey, due_ms: int, launch: Launch, on_failure_of: RunKey | None, may_deliver: bool
) -> StartProgram:
    """The effect that starts an attempt.

    `may_deliver`: the run may deliver an alert, so a query looks for it. Any other run saves that query.
    """
    program = launch.program
    own = run_environment(state.store.node, state.store.identity, key, due_ms)
    env = launch.env + own + _failed_environment(state, on_failure_of)
    stdin = launch.stdin
    if may_deliver and (message := message_of(state, key.run.job)):
        env, stdin = env + message.env, message.stdin
    return StartProgram(
        key,
        argv=launch.argv,
        env=env,
        cwd=program.cwd,
        umask=program.umask,
        output_limit=program.output_limit,
        user=program.user,
        group=program.group,
        stdin=stdin,
        env_file=program.env_file,
        pass_env=program.pass_env,
        started_ms=state.moment.wall,
        term_at=None if program.timeout_ms is None else state.moment.boot + program.timeout_ms,
        kill_after_ms=program.kill_after_ms,
        tree=program.tree,
        resources=program.resources,
        started_at=state.moment.boot,
    )


def _failed_environment(state: State, failed: RunKey | None) -> tuple[tuple[str, str], ...]:
    """The variables that describe the failed run to a program that answers it; none for other programs."""
    ended = state.store.runs.ended(failed) if failed is not None else None
    return failure_environment(state.store.node, ended) if ended is not None else ()


def _launch(state: State, program: Program, start: StartProgram, user: User, waited_ms: int | None) -> None:
    """Starts an attempt: counts its program as running, stores the attempt, and adds the effect.

    `waited_ms`: how long the run has waited for its first start; None: a start was tried before.
    """
    at = start.started_at
    running = Running(
        start.key,
        program.name,
        start.kill_after_ms,
        start.term_at,
        success=program.success,
        started_at=at,
        guest=state.guest(user),
    )
    state.running[start.key.run] = running
    # The times of the request: the next daemon compares them with what the keeper was asked for.
    state.store.runs.add_attempt(
        start.key, program.name, state.boot.name, start.started_ms, at, state.boot.namespace, policy_of(program)
    )
    state.effects.append(start)
    if waited_ms is not None:
        state.measure("run_wait_seconds", waited_ms)
    if state.configuration.notify:
        expect_late_end(state, running)
        if waited_ms is not None:
            run_started(state, start.key.run)


# Events of programs


def _is_running(state: State, key: AttemptKey) -> bool:
    """Whether this attempt is the running one. An event that waited for the store may be about an earlier attempt."""
    running = state.running.get(key.run)
    return running is not None and running.key == key


def program_started(state: State, event: ProgramStarted) -> None:
    if _is_running(state, event.key):
        namespace = event.process.namespace or state.boot.namespace
        state.store.runs.set_pid(event.key, event.process, namespace)


def program_not_started(state: State, event: ProgramNotStarted) -> None:
    if _is_running(state, event.key):
        _finish(state, event.key.run, NotStarted(event.reason, event.exhausted, event.is_alone))


def program_ended(state: State, event: ProgramEnded) -> None:
    if not _is_running(state, event.key):
        return
    if event.output_bytes:
        state.store.runs.add_output(event.key, event.output, event.output_bytes)
    _finish(state, event.key.run, _cause_of(state, event))
    state.effects.append(DiscardOutput(event.key))


def _cause_of(state: State, event: ProgramEnded) -> Cause:
    """How a program ended. If its keeper was killed before it reported the start, and it wrote nothing, it may not have run."""
    if event.exit == Exit() and not event.output_bytes:
        attempt = state.store.runs.attempt(event.key)
        if attempt is not None and attempt.process is None:
            return Lost(PERHAPS_NOT_STARTED)
    return replace(event.exit, ended_ms=_true_end(state, event))


def _true_end(state: State, event: ProgramEnded) -> int | None:
    """When a program ended, by the keeper's wall clock: the daemon may have been stopped since, and hear of it late.

    An instant before the start or after now shows that the clock was set meanwhile. Then the end counts as now: None.
    """
    now, ended_ms = state.moment, event.exit.ended_ms
    began_ms = now.wall - (now.boot - state.running[event.key.run].started_at)
    return ended_ms if ended_ms is not None and began_ms <= ended_ms <= now.wall else None


# Ends of attempts


def _finish(state: State, key: RunKey, cause: Cause) -> None:
    running = state.running.pop(key)
    if running.is_unseen:
        follow_unseen(state)
    finish_attempt(state, running, cause)
    if state.queue.number:
        state.queue.release_program(running.program)


def finish_attempt(state: State, running: Running, cause: Cause) -> None:
    """Records the end of an attempt, and the end of its run unless another attempt follows."""
    key = running.key
    runs = state.store.runs
    program = state.configuration.programs.get(running.program)
    if program and cause == Lost(PERHAPS_NOT_STARTED) and state.store.incidents.is_alert(key.run.job):
        # Whether the alert was delivered is not known. Twice is better than never.
        program = replace(program, on_interrupt="rerun")
    failed_before = runs.failures(key.run) if key.attempt > FIRST_ATTEMPT else 0
    seed = f"{state.store.identity}/{state.named(key.run)}/{key.attempt}"
    result = conclude(running, cause, program, failed_before, seed)
    state.count("attempts_total", running.program, _metrics_result(result.state, cause, result.began))
    # A shortage is logged once, not again for each program that cannot start.
    is_logged = result.began or not state.is_short
    if result.began:
        exit_of_process = cause if isinstance(cause, Exit) else Exit()
        ended_ms = _ended_ms(state, cause)
        if exit_of_process.took_ms is None:
            exit_of_process = replace(exit_of_process, took_ms=_took_ms(state, running, ended_ms))
        runs.end_attempt(key, result.state, result.reason, ended_ms, exit_of_process)
    else:
        if not (isinstance(cause, NotStarted) and cause.is_alone):
            # Other starts would fail for the same reason, so none is tried for a moment: thousands of runs may wait.
            state.short_until = state.moment.boot + EXHAUSTED_DELAY_MS
        runs.forget_attempt(key)
    if result.again is not None:
        _queue_again(state, running, result.again, is_logged)
    else:
        end_run(state, key.run, result.state, result.reason, _ended_ms(state, cause))
        answer_failure(state, key.run, running.program, result.state)


def _ended_ms(state: State, cause: Cause) -> int:
    """When a program ended, in wall time. It may have ended while no daemon was there."""
    at = cause.ended_ms if isinstance(cause, Exit) else None
    return state.moment.wall if at is None else min(at, state.moment.wall)


def _took_ms(state: State, running: Running, ended_ms: int) -> int:
    """How long an attempt took whose keeper has not measured it."""
    return max(0, state.moment.boot - running.started_at - (state.moment.wall - ended_ms))


def _metrics_result(state: RunState, cause: Cause, began: bool) -> str:
    """The result of an attempt, as `metrics` counts it."""
    if not began:
        return "not_started"
    by_signal = state is RunState.FAILED and isinstance(cause, Exit) and cause.signal is not None
    return "signal" if by_signal else state.value


def _queue_again(state: State, running: Running, again: Again, is_logged: bool) -> None:
    sequence = state.store.runs.queue_again(running.key.run, again.reason, state.moment.wall + again.delay_ms)
    turn = turn_of_alert(state, running.key.run.job)
    waiter = Waiter(sequence, running.key.run, running.program, running.guest, turn)
    state.queue.delay(state.moment.boot + again.delay_ms, waiter)
    level = "warning" if is_logged else "debug"
    key = running.key.run
    text = f"run {state.named(key)}: {again.reason} in {again.delay_ms / 1000:.1f} seconds"
    share = share_of_runs(state, running.guest)
    state.log(level, text, share, **_run_fields(state, key, RunState.QUEUED), program=running.program)


# Ends of runs


def end_run(state: State, key: RunKey, how: RunState, reason: Reason | None, ended_ms: int) -> None:
    """Records, counts and logs the end of a run."""
    state.store.runs.end(key, how, reason, ended_ms)
    state.note_end(key, how)
    _log_end(state, key, how, reason)


def _log_end(state: State, key: RunKey, how: RunState, reason: Reason | None) -> None:
    """Logs the end of a run with the name of its job or program, and how long its last attempt took."""
    run = count_end(state, key, how)
    lasted = None if run.took_ms is None else f"{run.took_ms / 1000:.1f} s"
    about = ", ".join(filter(None, (run.name or run.program, lasted)))
    text = f"run {state.named(key)} {how.value.replace('_', ' ')}{f': {reason}' if reason else ''}"
    fields = _run_fields(state, key, how) | {"job_name": run.name, "program": run.program, "duration_ms": run.took_ms}
    level = "info" if how in (RunState.SUCCEEDED, RunState.CANCELLED) else "warning"
    share = share_of_runs(state, run.uid)
    state.log(level, f"{text} ({about})" if about else text, share, **fields, user=run.user, origin=run.origin)


def count_end(state: State, key: RunKey, how: RunState) -> PastRun:
    """Counts a run that has ended. Returns it."""
    run = state.store.runs.past(key)
    assert run is not None, key
    state.count_run(key.job, how, run.origin, run.name is not None, run.took_ms)
    if run.program is not None and run.took_ms is not None:
        state.measure("run_duration_seconds", run.took_ms, run.program)
    if run.uid not in state.status.trusted and (run.has_output or may_be_long(run.command, run.reason)):
        state.pruning.note_end(state.store.runs, key)
    if _concerns_alerts(state, run.origin, run.name):
        run_ended(state, run)
        end_incidents_of_gone(state, key.job)
    return run


def count_end_at_claim(state: State, job: Job, run: NewRun) -> None:
    """Counts a run that ended when it was claimed."""
    state.count_run(job.number, run.state, job.origin, job.declared is not None, 0)
    if job.user.uid not in state.status.trusted and may_be_long(job.text, run.reason, run.answer):
        state.pruning.note_end(state.store.runs, run.key)
    if _concerns_alerts(state, job.origin, job.declared):
        past = state.store.runs.past(run.key)
        assert past is not None, run.key
        run_ended(state, past)


def _concerns_alerts(state: State, origin: str, declared: str | None) -> bool:
    """Whether alerts.py must be told of the end of a run: a stanza may watch it, or it may deliver an alert."""
    return bool(state.configuration.notify) or (origin == "stanza" and declared is None)


def share_of_runs(state: State, uid: int | None) -> str:
    """The allowance that the lines about the runs of a user use. Those of trusted users are always logged, also for None."""
    return "" if uid is None or uid in state.status.trusted else f"uid={uid} runs"


def _run_fields(state: State, key: RunKey, how: RunState) -> dict[str, Any]:
    """The fields of a log line about a run."""
    job = job_id(state.store.node, key.job)
    return {"event": "run", "job": job, "run": state.named(key), "state": how.value}


def _job_fields(job: Job) -> dict[str, Any]:
    return {"job_name": job.declared, "user": job.user.name, "origin": job.origin}


def answer_failure(state: State, key: RunKey, program: str, how: RunState) -> None:
    """Adds the job of `on_failure` after a run of the program has failed for good.

    The job is marked with that run, and so are the runs and jobs that it makes. If a marked run fails, no command
    follows. Otherwise failures could cause each other endlessly.

    The command needs no role, as all commands of the files. But it takes the places and the shares of the user whose run
    failed: whoever lets runs fail would else use up those of root. So the job has the uid of that user.
    """
    declared = state.configuration.programs.get(program)
    if how not in FAILURES or declared is None or declared.on_failure is None:
        return
    if state.store.runs.on_failure_of(key) is not None:
        return
    if not state.store.jobs.has_numbers():
        state.log("error", f"no command follows the failure of run {state.named(key)}: {'; '.join(NO_NUMBERS)}")
        return
    now = state.moment.wall
    command, user = declared.on_failure.command, CONFIG_USER._replace(uid=state.store.runs.uid(key))
    number = state.store.jobs.add(NewJob("run", now, None, command, user, "stanza", on_failure_of=key), now)
    text = f"on failure of run {state.named(key)}: job {job_id(state.store.node, number)}: {command.text}"
    state.log("info", text, share_of_runs(state, user.uid))


# Runs that are called off or replaced


def call_off(state: State, job: int, reason: Reason) -> None:
    """Cancels the job's waiting runs. Its running programs continue, but no further attempt follows."""
    for key in state.queue.remove_job(job):
        end_run(state, key, RunState.CANCELLED, reason, state.moment.wall)
    for running in state.running.of_job(job):
        state.store.runs.mark_last(running.key)
        state.running[running.key.run] = replace(running, is_last=True)


def replace_after_hold(state: State) -> None:
    """Ends the earlier runs of the runs that were claimed in a hold and replace them."""
    for key in state.queue.next_blocked() if state.may_claim else ():
        run = state.store.runs.past(key)
        if run is not None and run.reason == AFTER_REPLACED:
            _replace_siblings(state, key.job, key)


def _replace_siblings(state: State, job: int, newest: RunKey | None = None) -> None:
    """Ends the job's waiting runs before the newest one, and its programs except in a hold, for `overlap = replace`."""
    for key in state.queue.remove_job(job, newest):
        end_run(state, key, RunState.REPLACED, NEWER, state.moment.wall)
    for running in state.running.of_job(job) if state.may_claim else ():
        if running.ending in (Ending.REPLACED, Ending.CANCELLED):
            continue
        state.store.runs.mark_replaced(running.key)
        terminate(state, running, Ending.REPLACED)
