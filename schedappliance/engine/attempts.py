"""Attempts of runs: whether a new run may start (`overlap`) and with which arguments and environment, when its program gets
a signal, what its end means, and whether another attempt follows.

Rule: only `conclude` decides whether another attempt follows. Durations are boot time, never wall time. Each text of
`argv` and `env` is expanded once; the result is never split or expanded again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from schedappliance.engine.reasons import (
    AFTER_EARLIER,
    AFTER_REPLACED,
    NEWER,
    ONE_WAITS,
    OUTLIVED,
    OVERLAP,
    OVERLAP_WAITING,
    STOPPED,
    TIMEOUT,
    Reason,
    ended_by,
    exit_status,
    next_attempt,
    not_started,
    start_again,
    stopped_by,
    undeclared,
    unfit,
)
from schedappliance.engine.records import AttemptKey, RunKey, job_id, run_id
from schedappliance.engine.states import RunState
from schedappliance.model.configuration import Configuration, Program
from schedappliance.model.option_paths import absent
from schedappliance.model.options import STANZAS
from schedappliance.model.templates import Unset, expand

if TYPE_CHECKING:
    from schedappliance.engine.options import Options
    from schedappliance.model.commands import Command


class Admission(StrEnum):
    """The decision about a new run. `BLOCK`: it waits for the job's earlier run. `REPLACE`: it ends the earlier run first."""

    START = "start"
    SKIP = "skip"
    BLOCK = "block"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class Siblings:
    """The other runs of a job. `active`: how many run or wait for a place. `blocked`: how many wait for those.

    `running`: whether one of them has a running program.
    """

    active: int
    blocked: int
    running: bool = True


def admit(overlap: str, siblings: Siblings, catching_up: bool) -> tuple[Admission, Reason | None]:
    """Decides about a new run by the `overlap` of its program, with the reason unless it may start.

    `catching_up`: the run is one of several that are caught up. Such runs follow one another, and none is skipped.
    """
    if overlap == "parallel" or not (siblings.active or siblings.blocked):
        return Admission.START, None
    if catching_up:
        return Admission.BLOCK, AFTER_EARLIER
    if overlap == "queue":
        if siblings.blocked:
            return Admission.SKIP, ONE_WAITS
        return Admission.BLOCK, AFTER_EARLIER
    if overlap == "replace":
        return Admission.REPLACE, AFTER_REPLACED
    return Admission.SKIP, OVERLAP if siblings.running else OVERLAP_WAITING


def has_other_waits(before: Configuration, after: Configuration) -> bool:
    """Whether a change decides anew what queued runs wait for: the earlier runs of their job, a limit, or their user."""
    if (before.authorization is None) != (after.authorization is None):
        return True
    # A program that delivers alerts has a limit of its own; see `Configuration.most_running`.
    if before.notify is not after.notify and _delivering(before) != _delivering(after):
        return True
    if before.programs is after.programs:
        return False
    if before.programs.keys() != after.programs.keys():
        return True
    return any(
        (program.overlap, program.max_running) != (before.programs[name].overlap, before.programs[name].max_running)
        for name, program in after.programs.items()
        if program is not before.programs[name]
    )


def _delivering(configuration: Configuration) -> set[str]:
    return {notify.program for notify in configuration.notify.values()}


@dataclass(frozen=True, slots=True)
class CannotStart:
    """Why a program cannot be started. At run time a Reason is a plain text, so this type distinguishes a failure."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Launch:
    """A program with its expanded arguments, environment and standard input."""

    program: Program
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    stdin: str | None


def prepare(options: Options, command: Command) -> Launch | CannotStart:
    """Expands options in the arguments and the environment of a program, or says why the program cannot be started."""
    name, *arguments = command.words
    program = options.configuration.programs.get(name)
    if program is None:
        return CannotStart(undeclared(name))
    if (arguments or program.args) and (wrong := program.wrong_arguments(tuple(arguments))):
        return CannotStart(unfit(wrong.message))

    def filled(text: str) -> str:
        return expand(text, options.value) if "%" in text else text

    try:
        argv = (*map(filled, program.argv), *arguments)
        env = tuple([(variable, filled(text)) for variable, text in program.env])
        stdin = None if program.stdin is None else filled(program.stdin)
    except Unset as unset:
        return CannotStart(unfit(str(unset)))
    return Launch(program, argv, env, stdin)


class Policy(NamedTuple):
    """What an attempt is started with and keeps until its end, whatever its program gets meanwhile. `timeout_ms` None: no limit."""

    timeout_ms: int | None
    kill_after_ms: int
    success: tuple[int, ...]
    output_limit: int


def policy_of(program: Program | None) -> Policy:
    """What an attempt that starts now gets; the defaults for a program that is not declared any more."""
    if program is None:
        options = STANZAS["program"].options
        return Policy(*(absent(options[name]) for name in ("timeout", "kill_after", "success", "output_limit")))
    return Policy(program.timeout_ms, program.kill_after_ms, program.success, program.output_limit)


class Ending(StrEnum):
    """Why the appliance is ending a program."""

    TIMEOUT = "timeout"
    SHUTDOWN = "shutdown"
    REPLACED = "replaced"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Running:
    """An attempt that has begun. Instants are boot milliseconds; None means never."""

    key: AttemptKey
    program: str
    kill_after_ms: int
    # When TERM is due, and KILL.
    term_at: int | None = None
    kill_at: int | None = None
    # Why TERM was sent.
    ending: Ending | None = None
    # When KILL was sent.
    killed_at: int | None = None
    # The exit statuses that count as success.
    success: tuple[int, ...] = (0,)
    # The user who stopped it.
    stopped_by: str | None = None
    # When it began.
    started_at: int = 0
    # When it is late for the next `notify` stanza; None if nobody has worked it out.
    late_at: int | None = None
    # No attempt follows: its job was paused, deleted, switched off or taken out of the files.
    is_last: bool = False
    # The uid of its user; None for root and the user of the appliance.
    guest: int | None = None
    # Its program cannot be seen from here; see core/unseen.py.
    is_unseen: bool = False

    @property
    def deadline(self) -> int | None:
        return self.kill_at if self.ending else self.term_at


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: its exit status or its signal. Both are None if nobody knows.

    `ended_ms`: when it ended, in wall time; None: just now. `cpu_ms`: the CPU time that it took with its
    descendants. `memory_bytes`: the peak memory of the largest of them. `took_ms`: how long the attempt took, by the time
    since the boot. `by_itself`: it is known that the appliance sent no signal before. Two exits are equal if the process
    ended alike.
    """

    status: int | None = None
    signal: int | None = None
    ended_ms: int | None = field(default=None, compare=False)
    cpu_ms: int | None = field(default=None, compare=False)
    memory_bytes: int | None = field(default=None, compare=False)
    took_ms: int | None = field(default=None, compare=False)
    by_itself: bool = field(default=False, compare=False)

    @property
    def shell_status(self) -> int | None:
        """The exit status as a shell reports it: 128 + N after signal N."""
        return self.status if self.signal is None else 128 + self.signal


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A run that has ended: its state, with the exit and the stored output of its last attempt."""

    key: RunKey
    due_ms: int
    state: RunState
    reason: str | None
    command: str
    exit: Exit
    output: bytes


def after_term(running: Running, why: Ending, boot_ms: int) -> Running:
    """The program after TERM was sent, with the deadline of KILL."""
    return replace(running, ending=why, kill_at=boot_ms + running.kill_after_ms)


def exit_state(running: Running, ended: Exit) -> tuple[RunState, Reason | None]:
    """The state that the end of a program leads to, and the reason unless it succeeded.

    A program may end just before it is to be ended: then its exit counts.
    """
    if running.ending is Ending.REPLACED:
        return RunState.REPLACED, NEWER
    if running.ending is Ending.SHUTDOWN and not ended.by_itself:
        return RunState.INTERRUPTED, STOPPED
    if running.ending is Ending.TIMEOUT and not ended.by_itself:
        return RunState.TIMED_OUT, TIMEOUT
    if ended.signal is not None:
        return RunState.FAILED, ended_by(ended.signal)
    if ended.status is None:
        return RunState.INTERRUPTED, OUTLIVED
    if ended.status not in running.success:
        return RunState.FAILED, exit_status(ended.status)
    return RunState.SUCCEEDED, None


LONGEST_DELAY_MS = 3_600_000
JITTER = 0.1


def is_tried_again(program: Program, how: RunState, failures: int) -> bool:
    """Whether another attempt follows: by `retries` after a failure, by `on_interrupt` after an interruption.

    `failures`: how many attempts of the run have failed, including this one. An interruption is not a failure.
    """
    if how is RunState.INTERRUPTED:
        return program.on_interrupt == "rerun"
    return how in (RunState.FAILED, RunState.TIMED_OUT) and failures <= program.retries


def delay_ms(program: Program, how: RunState, failures: int, seed: str) -> int:
    """Milliseconds until the next attempt. The delay doubles with each failure, up to an hour.

    Up to a tenth is added, so that runs that failed together do not retry together. The same seed gives the same jitter.
    """
    if how is RunState.INTERRUPTED:
        return 0
    longest = max(LONGEST_DELAY_MS, program.retry_delay_ms)
    delay = min(longest, program.retry_delay_ms << min(failures - 1, 40))
    return delay + int(delay * JITTER * Random(seed).random())


EXHAUSTED_DELAY_MS = 1000


@dataclass(frozen=True, slots=True)
class NotStarted:
    """The machine could not start the program. `exhausted` and `is_alone`: as in the event ProgramNotStarted."""

    message: str
    exhausted: bool = False
    is_alone: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """The appliance, or the keeper that started the program, ended before it told how the program ended."""

    reason: Reason


Cause = Exit | NotStarted | Lost


@dataclass(frozen=True, slots=True)
class Again:
    """Another attempt follows after `delay_ms`; `reason` explains until then why the run waits."""

    delay_ms: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """The end of an attempt. The run gets its `state` and `reason` too, unless another attempt follows (`again`).

    `began`: whether the attempt counts. A start that failed for lack of a resource does not.
    """

    state: RunState
    reason: Reason | None
    again: Again | None = None
    began: bool = True


def conclude(running: Running, cause: Cause, program: Program | None, failed_before: int, seed: str) -> AttemptEnd:
    """Decides the end of an attempt, and whether another one follows.

    `program`: as it is declared now; None if it is no longer declared. `failed_before`: how many attempts of the run
    failed before this one. A run that was replaced or stopped, or whose job was called off, gets no further attempt.
    """
    state, reason = _end_state(running, cause)
    if state in (RunState.REPLACED, RunState.CANCELLED) or running.is_last:
        return AttemptEnd(state, reason)
    if isinstance(cause, NotStarted) and cause.exhausted and state is RunState.FAILED:
        return AttemptEnd(state, reason, Again(EXHAUSTED_DELAY_MS, start_again(cause.message)), began=False)
    failures = failed_before + 1
    if program is None or not is_tried_again(program, state, failures):
        return AttemptEnd(state, reason)
    return AttemptEnd(
        state, reason, Again(delay_ms(program, state, failures, seed), next_attempt(running.key.attempt, state, reason))
    )


def _end_state(running: Running, cause: Cause) -> tuple[RunState, Reason | None]:
    """The state and the reason. A start that hung until its timeout has timed out, even if the machine reports an error."""
    if running.ending is Ending.CANCELLED:
        return RunState.CANCELLED, stopped_by(running.stopped_by)
    if running.ending is Ending.REPLACED:
        return RunState.REPLACED, NEWER
    if isinstance(cause, Exit):
        return exit_state(running, cause)
    if isinstance(cause, Lost):
        return RunState.INTERRUPTED, cause.reason
    if cause.exhausted and running.ending is Ending.TIMEOUT:
        return RunState.TIMED_OUT, TIMEOUT
    return RunState.FAILED, not_started(cause.message)


# How much of an output a program gets in its environment.
TAIL_BYTES = 4096

_HALF_A_CHARACTER = re.compile(rb"\A[\x80-\xbf]{1,3}")


def failure_environment(node: str, failed: EndedRun) -> tuple[tuple[str, str], ...]:
    """The variables that describe the failed run to an `on_failure` program. An unknown exit status is empty."""
    status = failed.exit.shell_status
    return (
        ("SCHED_FAILED_JOB_ID", job_id(node, failed.key.job)),
        ("SCHED_FAILED_RUN_ID", run_id(node, failed.key)),
        ("SCHED_FAILED_COMMAND", failed.command),
        ("SCHED_FAILED_DUE_TIME", str(failed.due_ms // 1000)),
        ("SCHED_FAILED_STATE", failed.state.value),
        ("SCHED_FAILED_REASON", failed.reason or ""),
        ("SCHED_FAILED_EXIT_STATUS", "" if status is None else str(status)),
        ("SCHED_FAILED_OUTPUT", tail(failed.output).decode(errors="surrogateescape")),
    )


def tail(output: bytes, most: int = TAIL_BYTES) -> bytes:
    """The last bytes of an output, starting with a whole character. NUL is left out: no environment can hold it."""
    end = output[-most:]
    if len(output) > most:
        end = _HALF_A_CHARACTER.sub(b"", end)
    return end.replace(b"\0", b"")
