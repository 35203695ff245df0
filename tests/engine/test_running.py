"""When a running program is signalled, and what its end means."""

from __future__ import annotations

import pytest

from schedappliance.engine.attempts import Ending, Exit, Running, after_term, exit_state
from schedappliance.engine.records import AttemptKey, RunKey
from schedappliance.engine.states import RunState


def program(
    job: int = 1, term_at: int | None = None, ending: Ending | None = None, success: tuple[int, ...] = (0,)
) -> Running:
    return Running(AttemptKey(RunKey(job, 1), 1), "sleep", 10_000, term_at, ending=ending, success=success)


def test_after_term_the_deadline_is_that_of_kill() -> None:
    ending = after_term(program(1, 500), Ending.TIMEOUT, 700)
    assert (ending.ending, ending.kill_at, ending.deadline) == (Ending.TIMEOUT, 10_700, 10_700)


@pytest.mark.parametrize(
    ("ending", "program_exit", "state", "reason"),
    [
        (None, Exit(0), RunState.SUCCEEDED, None),
        (None, Exit(3), RunState.FAILED, "exit status 3"),
        (None, Exit(signal=9), RunState.FAILED, "ended by signal 9 (SIGKILL)"),
        (None, Exit(signal=37), RunState.FAILED, "ended by signal 37 (real-time signal)"),
        (None, Exit(), RunState.INTERRUPTED, "its keeper was killed; its exit status is not known"),
        (Ending.TIMEOUT, Exit(signal=15), RunState.TIMED_OUT, "the program's timeout passed"),
        (Ending.TIMEOUT, Exit(), RunState.TIMED_OUT, "the program's timeout passed"),
        (Ending.TIMEOUT, Exit(0), RunState.TIMED_OUT, "the program's timeout passed"),
        (Ending.REPLACED, Exit(signal=15), RunState.REPLACED, "a newer run took its place"),
        (Ending.REPLACED, Exit(0), RunState.REPLACED, "a newer run took its place"),
        (Ending.SHUTDOWN, Exit(signal=15), RunState.INTERRUPTED, "the appliance was stopped"),
        (Ending.SHUTDOWN, Exit(0, by_itself=True), RunState.SUCCEEDED, None),
        (Ending.SHUTDOWN, Exit(3, by_itself=True), RunState.FAILED, "exit status 3"),
        (Ending.TIMEOUT, Exit(0, by_itself=True), RunState.SUCCEEDED, None),
    ],
)
def test_the_end_of_a_program_has_one_meaning(
    ending: Ending | None, program_exit: Exit, state: RunState, reason: str | None
) -> None:
    assert exit_state(program(ending=ending), program_exit) == (state, reason)


@pytest.mark.parametrize(
    ("success", "status", "state", "reason"),
    [
        ((0,), 0, RunState.SUCCEEDED, None),
        ((0, 3), 3, RunState.SUCCEEDED, None),
        ((0, 3), 0, RunState.SUCCEEDED, None),
        ((0, 3), 2, RunState.FAILED, "exit status 2"),
        ((3,), 0, RunState.FAILED, "exit status 0"),
    ],
)
def test_the_statuses_that_mean_success_are_those_of_the_program(
    success: tuple[int, ...], status: int, state: RunState, reason: str | None
) -> None:
    assert exit_state(program(success=success), Exit(status)) == (state, reason)


def test_a_signal_is_never_a_success_whatever_the_statuses() -> None:
    assert exit_state(program(success=tuple(range(256))), Exit(signal=9))[0] is RunState.FAILED
