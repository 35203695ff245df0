"""The states of a run and its legal moves. Rule: everything that may happen to a run stands in this table, and nowhere else."""

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


# What a claimed occurrence begins as: internal commands end in the transaction that claims them.
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

# The ends that `on_failure` of a program follows. What was skipped, missed, replaced or cancelled is decided here, not failed.
FAILURES = frozenset({RunState.FAILED, RunState.TIMED_OUT, RunState.INTERRUPTED})


def move(old: RunState, new: RunState) -> RunState:
    """The new state; an illegal move is our own mistake."""
    assert new in MOVES.get(old, ()), f"a run does not go from {old} to {new}"
    return new
