"""The history is kept short: a turn removes about as many runs as it added, so that no tick stalls."""

from __future__ import annotations

from schedappliance.core.state import State

# Runs may exceed the limit by so many before some are removed, and so many go at once beside those that came.
SLACK = 100
# Outputs take as long to be removed as they are; so much of them goes beside those runs.
MOST_BYTES = 512 * 1024
# While there are many too many, as after `history` was lowered, a turn follows for them alone.
AGAIN_MS = 100


def prune(state: State, kept_before: int) -> None:
    """Removes the oldest ended runs when more are kept than `history` says; `kept_before` were kept before this turn."""
    surplus = _surplus(state)
    state.pruning = False
    if surplus > SLACK:
        claimed = max(0, state.kept_runs - kept_before)
        removed, state.swept = state.store.runs.prune(state.swept, min(surplus, claimed + SLACK), claimed, MOST_BYTES)
        # What has still to be answered by `on_failure` is not removed; there may be nothing to do but that.
        state.pruning = removed > 0 or state.swept > 0
        state.kept_runs = state.kept_runs - removed if state.pruning else state.store.runs.count()
    else:
        # What had to be kept may have become the oldest that can go.
        state.swept = 0


def next_prune(state: State) -> int | None:
    """The boot instant of a turn that is needed for this alone."""
    return state.moment.boot + AGAIN_MS if state.pruning and _surplus(state) > SLACK else None


def _surplus(state: State) -> int:
    """What has not ended is no history yet."""
    surplus = state.kept_runs - state.configuration.history
    return surplus - state.live.total() if surplus > SLACK else 0
