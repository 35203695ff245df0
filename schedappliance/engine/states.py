"""The states of a run, the table of allowed transitions, and Statistics, the counters of `summary`.

Rule: a transition that is not in this table is a mistake in the code.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schedappliance.clock import Moment


class RunState(StrEnum):
    QUEUED = "queued"
    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    INTERRUPTED = "interrupted"
    REPLACED = "replaced"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    MISSED = "missed"


# The first state of a claimed occurrence. Internal commands end in the transaction that claims them.
BEGINNINGS = frozenset(
    {
        RunState.QUEUED,
        RunState.STARTED,
        RunState.SUCCEEDED,
        RunState.FAILED,
        RunState.SKIPPED,
        RunState.MISSED,
    }
)

TRANSITIONS: dict[RunState, frozenset[RunState]] = {
    RunState.QUEUED: frozenset({RunState.STARTED, RunState.FAILED, RunState.CANCELLED, RunState.REPLACED}),
    RunState.STARTED: frozenset(
        {
            RunState.QUEUED,
            RunState.SUCCEEDED,
            RunState.FAILED,
            RunState.TIMED_OUT,
            RunState.INTERRUPTED,
            RunState.REPLACED,
            RunState.CANCELLED,
        }
    ),
}

# The states after which `on_failure` applies. The appliance itself decides that a run is skipped, missed, replaced or
# cancelled, so those states are not failures.
FAILURES = frozenset({RunState.FAILED, RunState.TIMED_OUT, RunState.INTERRUPTED})


def move(old: RunState, new: RunState) -> RunState:
    """Returns the new state, and asserts that the table allows the transition."""
    assert new in TRANSITIONS.get(old, ()), f"a run does not go from {old} to {new}"
    return new


@dataclass(slots=True)
class Statistics:
    """The counts that `summary` shows, since the start or the last reset. State.remember copies `ended`."""

    since: Moment
    ended: Counter[RunState] = field(default_factory=Counter)
    commands: int = 0
    drops: int = 0
