"""What becomes of an attempt that is over, and of its run. Rule: only here is it decided whether another attempt follows.

A run whose place a newer one took gets no further attempt, however its last one came to its end.
"""

from __future__ import annotations

from dataclasses import dataclass

from schedappliance.engine.reasons import NEWER, TIMEOUT, Reason, next_attempt, not_started, start_again
from schedappliance.engine.retries import delay_ms, is_tried_again
from schedappliance.engine.running import Ending, Exit, Running, outcome
from schedappliance.engine.states import RunState
from schedappliance.model.configuration import Program

EXHAUSTED_DELAY_MS = 1000


@dataclass(frozen=True, slots=True)
class NotStarted:
    """The machine did not start it. `exhausted`: it was short of something; the same start may succeed later."""

    told: str
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
class Verdict:
    """`state` and `reason` of the attempt, and of its run unless it is tried `again`. `began` false: it does not count."""

    state: RunState
    reason: Reason | None
    again: Again | None = None
    began: bool = True


def judge(running: Running, cause: Cause, program: Program | None, failed_before: int, seed: str) -> Verdict:
    """`program` as it is declared now; `failed_before`: how many attempts of the run have failed before this one."""
    state, reason = _outcome(running, cause)
    if state is RunState.REPLACED:
        return Verdict(state, reason)
    if isinstance(cause, NotStarted) and cause.exhausted and state is RunState.FAILED:
        return Verdict(state, reason, Again(EXHAUSTED_DELAY_MS, start_again(cause.told)), began=False)
    failures = failed_before + 1
    if program is None or not is_tried_again(program, state, failures):
        return Verdict(state, reason)
    return Verdict(
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
    return RunState.FAILED, not_started(cause.told)
