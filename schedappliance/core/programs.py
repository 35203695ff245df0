"""Runs of programs: claimed, queued, started, ended. A program starts after the commit that claims its run, once per attempt."""

from __future__ import annotations

import signal
from dataclasses import replace

from schedappliance.core.state import State
from schedappliance.engine.effects import DiscardOutput, SignalProgram, StartProgram, Stop
from schedappliance.engine.events import ProgramEnded, ProgramNotStarted, ProgramStarted
from schedappliance.engine.records import Job, RunKey, job_id, pack, run_id
from schedappliance.engine.running import Ending, Exit, Running, end, outcome, overdue
from schedappliance.engine.states import RunState
from schedappliance.model.commands import Command
from schedappliance.model.programs import Program
from schedappliance.model.templates import Unset, expand
from schedappliance.store.runs import NewRun

FIRST_ATTEMPT = 1


def claim_program(state: State, job: Job, key: RunKey, due_ms: int, command: Command) -> None:
    """The run of a due job: started if a place is free and nobody waits, else queued behind the others."""
    prepared = _prepare(state, key, due_ms, command)
    now = state.moment.wall
    if isinstance(prepared, str):
        run = NewRun(key, due_ms, RunState.FAILED, prepared, ended_ms=now)
        state.log("warning", f"run {state.named(key)} failed: {prepared}")
    elif _free(state) > 0 and not state.status.queued:
        run = NewRun(key, due_ms, RunState.STARTED, attempts=FIRST_ATTEMPT)
    else:
        reason = f"{state.max_running} programs are running"
        run = NewRun(key, due_ms, RunState.QUEUED, reason, packed=pack(command))
    state.store.runs.add(job, run, now)
    state.begins(key, run.state)
    if run.state is RunState.STARTED and not isinstance(prepared, str):
        _launch(state, *prepared)


def start_queued(state: State) -> None:
    """Starts as many waiting runs as there are free places, in the order in which they were claimed."""
    free = _free(state)
    while free > 0 and state.status.queued:
        for run in state.store.runs.queued(free):
            prepared: tuple[Program, StartProgram] | str = "the command is no longer valid"
            if run.command is not None:
                prepared = _prepare(state, run.key, run.due_ms, run.command)
            if isinstance(prepared, str):
                state.store.runs.end(run.key, RunState.FAILED, prepared, state.moment.wall)
                state.ends(run.key, RunState.FAILED, was_queued=True)
                state.log("warning", f"run {state.named(run.key)} failed: {prepared}")
            else:
                state.store.runs.start(run.key, FIRST_ATTEMPT)
                state.status.queued -= 1
                _launch(state, *prepared)
        free = _free(state)


def _free(state: State) -> int:
    return state.max_running - len(state.running)


def _prepare(state: State, key: RunKey, due_ms: int, command: Command) -> tuple[Program, StartProgram] | str:
    """Everything that a start needs, or the reason why the program cannot be started."""
    name, *arguments = command.words
    program = state.configuration.programs.get(name)
    if program is None:
        return f"program `{name}` is not declared"
    if misfit := program.misfit(tuple(arguments)):
        return misfit.message
    try:
        argv = (*(expand(text, state.options.value) for text in program.argv), *arguments)
        env = tuple((name, expand(text, state.options.value)) for name, text in program.env)
    except Unset as unset:
        return str(unset)
    env += _own_environment(state, key, due_ms)
    return program, StartProgram(key, FIRST_ATTEMPT, argv, env, program.cwd, program.output_limit)


def _own_environment(state: State, key: RunKey, due_ms: int) -> tuple[tuple[str, str], ...]:
    """SCHED_STORE tells the runs of two stores apart whose nodes have one name."""
    node = state.store.node
    return (
        ("SCHED_JOB_ID", job_id(node, key.job)),
        ("SCHED_RUN_ID", run_id(node, key)),
        ("SCHED_DUE_TIME", str(due_ms // 1000)),
        ("SCHED_ATTEMPT", str(FIRST_ATTEMPT)),
        ("SCHED_NODE", node),
        ("SCHED_STORE", state.store.identity),
    )


def _launch(state: State, program: Program, start: StartProgram) -> None:
    wall, boot = state.moment.wall, state.moment.boot
    term_at = boot + program.timeout_ms if program.timeout_ms is not None else None
    running = Running(start.key, start.attempt, program.name, program.kill_after_ms, term_at)
    state.running[start.key] = running
    state.store.runs.add_attempt(start.key, start.attempt, program.name, state.boot_id, wall, boot)
    state.effects.append(start)


def program_started(state: State, event: ProgramStarted) -> None:
    state.store.runs.attempt_has_pid(event.key, event.attempt, event.pid, event.start_ticks)


def program_not_started(state: State, event: ProgramNotStarted) -> None:
    _ended(state, event.key, event.attempt, RunState.FAILED, event.reason, Exit())


def program_ended(state: State, event: ProgramEnded) -> None:
    running = state.running.get(event.key)
    if running is None or running.attempt != event.attempt:
        return
    if event.output_bytes:
        state.store.runs.add_output(event.key, event.attempt, event.output, event.output_bytes)
    _ended(state, event.key, event.attempt, *outcome(running, event.exit), event.exit)
    state.effects.append(DiscardOutput(event.key, event.attempt))


def _ended(state: State, key: RunKey, attempt: int, how: RunState, reason: str | None, exit: Exit) -> None:
    now = state.moment.wall
    state.store.runs.end_attempt(key, attempt, how, reason, now, exit)
    state.store.runs.end(key, how, reason, now)
    del state.running[key]
    state.ends(key, how)
    if how is RunState.SUCCEEDED:
        state.log("debug", f"run {state.named(key)} succeeded")
    else:
        state.log("warning", f"run {state.named(key)} {how.value.replace('_', ' ')}: {reason}")


def send_signals(state: State) -> None:
    """TERM to programs whose timeout has passed, KILL to those that did not end in time."""
    for running in overdue(state.running.values(), state.moment.boot):
        if running.ending is None:
            state.running[running.key] = end(running, Ending.TIMEOUT, state.moment.boot)
            number = signal.SIGTERM
        else:
            state.running[running.key] = replace(running, kill_at=None)
            number = signal.SIGKILL
        state.effects.append(SignalProgram(running.key, running.attempt, number, running.kill_after_ms))


def stop(state: State, reason: str) -> None:
    """No new runs from now on; every running program is sent TERM, and KILL after its `kill_after`."""
    if not state.stopping:
        state.stopping = True
        state.log("info", f"stopping: {reason}; {len(state.running)} programs are running")
        for running in list(state.running.values()):
            if running.ending is None:
                state.running[running.key] = end(running, Ending.SHUTDOWN, state.moment.boot)
                term = SignalProgram(running.key, running.attempt, signal.SIGTERM, running.kill_after_ms)
                state.effects.append(term)


def finish_stopping(state: State) -> None:
    if state.stopping and not state.running and not state.stopped:
        state.stopped = True
        state.effects.append(Stop())
