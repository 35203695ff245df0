"""The end of an attempt, judged from why it was ended, its result and its program."""

from __future__ import annotations

from dataclasses import replace

import pytest

from schedappliance.engine.attempts import (
    EXHAUSTED_DELAY_MS,
    AttemptEnd,
    Cause,
    Ending,
    Exit,
    Lost,
    NotStarted,
    Running,
    conclude,
)
from schedappliance.engine.reasons import NEWER, OUTLIVED, STOPPED, TIMEOUT, WHILE_RUNNING, Reason
from schedappliance.engine.records import AttemptKey, RunKey
from schedappliance.engine.states import RunState
from schedappliance.model.configuration import Program
from tests.engine.test_retries import ONCE

ATTEMPT = Running(AttemptKey(RunKey(1, 1), 1), "p", 10_000)
AGAIN = replace(ONCE, retries=2, retry_delay_ms=0, on_interrupt="rerun")
EXHAUSTED = NotStarted("too many processes", exhausted=True)
CAUSES = [Exit(0), Exit(3), Exit(None, 15), Exit(), NotStarted("no such file"), EXHAUSTED, Lost(WHILE_RUNNING)]


def verdict(
    cause: Cause, ending: Ending | None = None, program: Program | None = AGAIN, failed_before: int = 0
) -> AttemptEnd:
    return conclude(replace(ATTEMPT, ending=ending), cause, program, failed_before, "seed")


@pytest.mark.parametrize("cause", CAUSES)
def test_a_replaced_run_is_never_retried(cause: Cause) -> None:
    assert verdict(cause, Ending.REPLACED) == AttemptEnd(RunState.REPLACED, NEWER)


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize(("user", "reason"), [("alice", "stopped by alice"), (None, "stopped by a user")])
def test_a_stopped_run_is_never_retried(cause: Cause, user: str | None, reason: str) -> None:
    """The name is missing if the store could not be written at the stop, and the appliance ended before it could."""
    running = replace(ATTEMPT, ending=Ending.CANCELLED, stopped_by=user)
    assert conclude(running, cause, AGAIN, 0, "seed") == AttemptEnd(RunState.CANCELLED, Reason(reason))


@pytest.mark.parametrize(
    ("cause", "ending", "state", "reason"),
    [
        (Exit(0), None, RunState.SUCCEEDED, None),
        (Exit(3), None, RunState.FAILED, "exit status 3"),
        (Exit(), None, RunState.INTERRUPTED, OUTLIVED),
        (Exit(0), Ending.TIMEOUT, RunState.TIMED_OUT, TIMEOUT),
        (Exit(0), Ending.SHUTDOWN, RunState.INTERRUPTED, STOPPED),
        (NotStarted("no such file"), None, RunState.FAILED, "no such file"),
        (NotStarted("no such file"), Ending.TIMEOUT, RunState.FAILED, "no such file"),
        (EXHAUSTED, Ending.TIMEOUT, RunState.TIMED_OUT, TIMEOUT),
        (Lost(WHILE_RUNNING), None, RunState.INTERRUPTED, WHILE_RUNNING),
    ],
)
def test_the_end_of_an_attempt_has_a_state_and_a_reason(
    cause: Cause, ending: Ending | None, state: RunState, reason: str | None
) -> None:
    end = verdict(cause, ending)
    assert (end.state, end.reason, end.began) == (state, reason, True)
    assert (end.again is not None) is (state is not RunState.SUCCEEDED)
    assert verdict(cause, ending, ONCE) == verdict(cause, ending, None) == AttemptEnd(state, end.reason)


@pytest.mark.parametrize("ending", [None, Ending.SHUTDOWN])
@pytest.mark.parametrize("program", [ONCE, AGAIN, None])
@pytest.mark.parametrize("failed_before", [0, 9])
def test_a_start_without_resources_does_not_count(
    ending: Ending | None, program: Program | None, failed_before: int
) -> None:
    end = verdict(EXHAUSTED, ending, program, failed_before)
    assert not end.began
    assert end.again is not None
    assert (end.again.delay_ms, end.again.reason) == (EXHAUSTED_DELAY_MS, "too many processes; it is tried again")


@pytest.mark.parametrize(("failed_before", "again"), [(0, True), (1, True), (2, False), (3, False)])
def test_only_failures_use_up_retries(failed_before: int, again: bool) -> None:
    late = replace(ATTEMPT, key=AttemptKey(RunKey(1, 1), 7))
    assert (conclude(late, Exit(3), AGAIN, failed_before, "seed").again is not None) is again
    assert conclude(late, Lost(WHILE_RUNNING), AGAIN, failed_before, "seed").again is not None
