"""Steps of the wall clock: how far it was set back or forward, and which steps back a step forward undoes.

Rule: a step forward counts as downtime, unless it undoes steps back. Steps back occur on a machine that boots in 1970
and then asks the network for the time.
"""

from __future__ import annotations

from typing import NamedTuple

from schedappliance.clock import Moment

# NTP slews the clock, and two clocks are not read at one instant. Such small differences are not steps.
TOLERANCE_MS = 1000
# A clock counts as right within this tolerance, plus a drift of one part in DRIFT since the first step.
NEARLY_MS = 60_000
DRIFT = 1000
# Only this many steps back are stored; a step forward cannot undo older ones.
MOST_STEPS = 100


class StepsBack(NamedTuple):
    """The steps back that the jobs have followed. `before_ms`: the wall time before the first of them."""

    before_ms: int
    steps: tuple[int, ...]


def step_back_ms(before: Moment, now: Moment) -> int:
    """How far the wall clock was set back between two moments of one boot, in milliseconds; 0 if it was not."""
    step = (before.wall - before.boot) - (now.wall - now.boot)
    return step if step > TOLERANCE_MS else 0


def step_forward_ms(before: Moment, now: Moment) -> int:
    """How far the wall clock was set forward between two moments of one boot, in milliseconds; 0 if it was not."""
    return step_back_ms(Moment(-before.wall, -before.boot), Moment(-now.wall, -now.boot))


def step_back_across_boots_ms(last_wall_ms: int, now: Moment) -> int:
    """How far the wall clock is behind the last tick. Across boots, only such a step back can be detected."""
    return last_wall_ms - now.wall if last_wall_ms - now.wall > TOLERANCE_MS else 0


def another_step_back(known: StepsBack | None, back_ms: int, now_ms: int) -> StepsBack:
    """The steps back with one more. A new list begins when the clock has passed the time before the first step."""
    before = now_ms + back_ms
    if known is None or before >= known.before_ms:
        return StepsBack(before, (back_ms,))
    return StepsBack(known.before_ms, (*known.steps, back_ms)[-MOST_STEPS:])


def steps_undone_by(known: StepsBack | None, forward_ms: int, now_ms: int) -> tuple[int, ...]:
    """The steps back that a step forward undoes, the last one first: all of them, or none.

    A step forward that is smaller than the sum of the steps back leaves the clock wrong. If the steps back were undone
    then, the jobs would move further than the clock and run late.
    """
    if known is None or forward_ms == 0 or not now_ms - forward_ms < known.before_ms <= now_ms + TOLERANCE_MS:
        return ()
    back = sum(known.steps)
    passed = (now_ms - forward_ms) - (known.before_ms - back)
    return known.steps[::-1] if back - forward_ms <= NEARLY_MS + passed // DRIFT else ()


def steps_undone_across_boots(
    known: StepsBack | None, last_wall_ms: int, created_ms: int, now_ms: int
) -> tuple[int, ...]:
    """The steps back that the time since the last boot undoes.

    The clock was certainly wrong only if it showed a time before the creation of the store.
    """
    if last_wall_ms >= created_ms - TOLERANCE_MS:
        return ()
    return steps_undone_by(known, now_ms - last_wall_ms, now_ms)
