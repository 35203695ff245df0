"""The states of a run, and the table of its legal moves. Rule: a move that is not in this table is a mistake in the code."""

from __future__ import annotations

from enum import StrEnum


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

MOVES: dict[RunState, frozenset[RunState]] = {
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

# The states that `on_failure` answers. Runs that were skipped, missed, replaced or cancelled did not fail: the appliance decided.
FAILURES = frozenset({RunState.FAILED, RunState.TIMED_OUT, RunState.INTERRUPTED})


def move(old: RunState, new: RunState) -> RunState:
    """Returns the new state, and asserts that the move is legal."""
    assert new in MOVES.get(old, ()), f"a run does not go from {old} to {new}"
    return new
