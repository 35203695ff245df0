"""Running programs: when one must be signalled, and what its end means. Durations are boot time, never wall time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from schedappliance.engine.reasons import NEWER, OUTLIVED, STOPPED, TIMEOUT, Reason, ended_by, exit_status
from schedappliance.engine.records import AttemptKey, RunKey
from schedappliance.engine.states import RunState


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


def outcome(running: Running, exit: Exit) -> tuple[RunState, Reason | None]:
    """The state that a program's end leads to, and the reason when it is not success."""
    if running.ending is Ending.SHUTDOWN:
        return RunState.INTERRUPTED, STOPPED
    if running.ending is Ending.TIMEOUT:
        return RunState.TIMED_OUT, TIMEOUT
    if running.ending is Ending.REPLACED:
        return RunState.REPLACED, NEWER
    if exit.signal is not None:
        return RunState.FAILED, ended_by(exit.signal)
    if exit.status is None:
        return RunState.INTERRUPTED, OUTLIVED
    if exit.status not in running.success:
        return RunState.FAILED, exit_status(exit.status)
    return RunState.SUCCEEDED, None
