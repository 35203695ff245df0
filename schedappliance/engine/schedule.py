"""Next-run arithmetic: integer milliseconds, O(1) however much time has passed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Missed:
    """Due times that passed without a run: how many, and the first and the last of them."""

    count: int
    since_ms: int
    latest_ms: int


class Due(NamedTuple):
    """What is due now: the latest due time, the one after now (None: no more), and those that passed before it."""

    due_ms: int
    next_ms: int | None
    missed: Missed | None


def what_is_due(next_run_ms: int, interval_ms: int | None, now_ms: int) -> Due:
    """`every` keeps its phase: next = due + a whole number of intervals, however late this is asked."""
    assert next_run_ms <= now_ms
    if interval_ms is None:
        return Due(next_run_ms, None, None)
    passed = (now_ms - next_run_ms) // interval_ms
    due = next_run_ms + passed * interval_ms
    missed = Missed(passed, next_run_ms, due - interval_ms) if passed else None
    return Due(due, due + interval_ms, missed)


def next_multiple(interval_ms: int, offset_ms: int, now_ms: int) -> int:
    """The first instant after now that is a multiple of the interval since the Unix epoch, plus the offset."""
    return now_ms + interval_ms - (now_ms - offset_ms) % interval_ms
