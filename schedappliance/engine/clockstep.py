"""A clock that is set back: by how much, and what moves with it. Forward steps and suspend are downtime, but for those
that put a clock right again which had been set back, as on a machine that boots in 1970 and then asks the network.
"""

from __future__ import annotations

from typing import NamedTuple

from schedappliance.clock import Moment

# What NTP slews and readings of two clocks differ by is no step.
TOLERANCE_MS = 1000
# A clock is right within this, and one that nobody sets goes wrong by less than one part in so many.
NEARLY_MS = 60_000
DRIFT = 1000
# Of more steps back than this the oldest are never put right.
MOST_STEPS = 100


class SetBack(NamedTuple):
    """Steps back that were followed; `before_ms` is what the wall clock showed before the first of them."""

    before_ms: int
    steps: tuple[int, ...]


def set_back(before: Moment, now: Moment) -> int:
    """By how many milliseconds the wall clock was set back between two moments of one boot; 0 when it was not."""
    step = (before.wall - before.boot) - (now.wall - now.boot)
    return step if step > TOLERANCE_MS else 0


def set_forward(before: Moment, now: Moment) -> int:
    """By how many milliseconds the wall clock was set forward between two moments of one boot."""
    return set_back(Moment(-before.wall, -before.boot), Moment(-now.wall, -now.boot))


def set_back_across_boots(last_wall_ms: int, now: Moment) -> int:
    """Across boots only this can be known: it is earlier now than it was at the last tick."""
    return last_wall_ms - now.wall if last_wall_ms - now.wall > TOLERANCE_MS else 0


def another_step_back(known: SetBack | None, back_ms: int, now_ms: int) -> SetBack:
    """The steps back with one more. They begin anew when time itself has passed where the clock was before."""
    before = now_ms + back_ms
    if known is None or before >= known.before_ms:
        return SetBack(before, (back_ms,))
    return SetBack(known.before_ms, (*known.steps, back_ms)[-MOST_STEPS:])


def put_right(known: SetBack | None, forward_ms: int, now_ms: int) -> tuple[int, ...]:
    """The steps back that a step forward undoes, the last first: all, when it leads to where the clock was, else none.

    One that is smaller than they were leaves the clock wrong: the jobs would go further than the clock, and wait.
    """
    if known is None or forward_ms == 0 or not now_ms - forward_ms < known.before_ms <= now_ms + TOLERANCE_MS:
        return ()
    back = sum(known.steps)
    passed = (now_ms - forward_ms) - (known.before_ms - back)
    return known.steps[::-1] if back - forward_ms <= NEARLY_MS + passed // DRIFT else ()


def put_right_across_boots(known: SetBack | None, last_wall_ms: int, created_ms: int, now_ms: int) -> tuple[int, ...]:
    """The same across boots, where only this is sure: a clock was wrong that showed a time before the store was made."""
    if last_wall_ms >= created_ms - TOLERANCE_MS:
        return ()
    return put_right(known, now_ms - last_wall_ms, now_ms)
