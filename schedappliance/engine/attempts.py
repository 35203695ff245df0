"""Attempts of runs: when a running program must be signalled, what its end means, and whether another attempt follows.

Rule: only `conclude` decides whether another attempt follows. Durations are boot time, never wall time. A run that a
newer one replaced gets no further attempt.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random

from schedappliance.engine.reasons import (
    NEWER,
    OUTLIVED,
    STOPPED,
    TIMEOUT,
    Reason,
    ended_by,
    exit_status,
    next_attempt,
    not_started,
    start_again,
)
from schedappliance.engine.records import AttemptKey, RunKey
from schedappliance.engine.states import RunState
from schedappliance.model.configuration import Program


class Ending(StrEnum):
    """Why the appliance is ending a program."""

    TIMEOUT = "timeout"
    SHUTDOWN = "shutdown"
    REPLACED = "replaced"


@dataclass(frozen=True, slots=True)
class Running:
    """An attempt that has begun. Instants are boot milliseconds, None: never.

    `term_at`: when TERM is due; `kill_at`: when KILL is; `ending`: why TERM was sent. `adopted`: it outlived an
    earlier daemon, so its exit status cannot be known.
    """

    key: AttemptKey
    program: str
    kill_after_ms: int
    term_at: int | None = None
    kill_at: int | None = None
    ending: Ending | None = None
    adopted: bool = False
    success: tuple[int, ...] = (0,)

    @property
    def deadline(self) -> int | None:
        return self.kill_at if self.ending else self.term_at


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: status or signal; neither when it was not a child of this process."""

    status: int | None = None
    signal: int | None = None

    @property
    def shell_status(self) -> int | None:
        """One number for both, as a shell tells it: 128 + N after signal N."""
        return self.status if self.signal is None else 128 + self.signal


@dataclass(frozen=True, slots=True)
class EndedRun:
    """What a run came to: its state, with the end and the kept output of its last attempt."""

    key: RunKey
    due_ms: int
    state: RunState
    reason: str | None
    command: str
    exit: Exit
    output: bytes


def end(running: Running, why: Ending, boot_ms: int) -> Running:
    """The same program after TERM was sent."""
    return replace(running, ending=why, kill_at=boot_ms + running.kill_after_ms)


def outcome(running: Running, ended: Exit) -> tuple[RunState, Reason | None]:
    """The state that a program's end leads to, and the reason when it is not success."""
    if running.ending is Ending.SHUTDOWN:
        return RunState.INTERRUPTED, STOPPED
    if running.ending is Ending.TIMEOUT:
        return RunState.TIMED_OUT, TIMEOUT
    if running.ending is Ending.REPLACED:
        return RunState.REPLACED, NEWER
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
    """Whether another attempt follows the one that ended so: `retries` after a failure, `on_interrupt` when the appliance
    ended. `failures`: how many attempts of the run have failed, this one with them; what was interrupted is none.
    """
    if how is RunState.INTERRUPTED:
        return program.on_interrupt == "rerun"
    return how in (RunState.FAILED, RunState.TIMED_OUT) and failures <= program.retries


def delay_ms(program: Program, how: RunState, failures: int, seed: str) -> int:
    """Milliseconds until the next attempt: the delay doubles with each failure, up to an hour, and up to a tenth is added.

    The same seed gives the same jitter.
    """
    if how is RunState.INTERRUPTED:
        return 0
    longest = max(LONGEST_DELAY_MS, program.retry_delay_ms)
    delay = min(longest, program.retry_delay_ms << min(failures - 1, 40))
    return delay + int(delay * JITTER * Random(seed).random())


EXHAUSTED_DELAY_MS = 1000


@dataclass(frozen=True, slots=True)
class NotStarted:
    """The machine did not start it. `exhausted`: it was short of something; the same start may succeed later."""

    message: str
    exhausted: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """The appliance ended before it knew how the program did."""

    reason: Reason


Cause = Exit | NotStarted | Lost


@dataclass(frozen=True, slots=True)
class Again:
    """Another attempt follows: after how long, and what is told of the run until then."""

    delay_ms: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """`state` and `reason` of the attempt, and of its run unless it is tried `again`. `began` false: it does not count."""

    state: RunState
    reason: Reason | None
    again: Again | None = None
    began: bool = True


def conclude(running: Running, cause: Cause, program: Program | None, failed_before: int, seed: str) -> AttemptEnd:
    """`program` as it is declared now; `failed_before`: how many attempts of the run have failed before this one."""
    state, reason = _outcome(running, cause)
    if state is RunState.REPLACED:
        return AttemptEnd(state, reason)
    if isinstance(cause, NotStarted) and cause.exhausted and state is RunState.FAILED:
        return AttemptEnd(state, reason, Again(EXHAUSTED_DELAY_MS, start_again(cause.message)), began=False)
    failures = failed_before + 1
    if program is None or not is_tried_again(program, state, failures):
        return AttemptEnd(state, reason)
    return AttemptEnd(
        state, reason, Again(delay_ms(program, state, failures, seed), next_attempt(running.key.attempt, state, reason))
    )


def _outcome(running: Running, cause: Cause) -> tuple[RunState, Reason | None]:
    """A start that was ended because it hung has used its time up, whatever the machine says of it."""
    if running.ending is Ending.REPLACED:
        return RunState.REPLACED, NEWER
    if isinstance(cause, Exit):
        return outcome(running, cause)
    if isinstance(cause, Lost):
        return RunState.INTERRUPTED, cause.reason
    if cause.exhausted and running.ending is Ending.TIMEOUT:
        return RunState.TIMED_OUT, TIMEOUT
    return RunState.FAILED, not_started(cause.message)
