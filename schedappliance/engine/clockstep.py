"""A clock that is set back: by how much, and what moves with it. Forward steps and suspend need nothing, they are downtime."""

from __future__ import annotations

from schedappliance.clock import Moment

# What NTP slews and readings of two clocks differ by is no step.
TOLERANCE_MS = 1000


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
