"""When a run that did not succeed is tried again: exponential delay, capped, with jitter from a given seed."""

from __future__ import annotations

from random import Random

from schedappliance.engine.states import RunState
from schedappliance.model.configuration import Program

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
