"""Removes old runs and old results of drops. Rule: a turn removes a few of them, so that no tick stalls."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schedappliance.core.state import State

# Pruning begins when the rows exceed their limit by this many. A turn removes at most this many runs more than it adds.
SLACK = 100
# Deletion time grows with the size of the outputs; at most this many bytes per turn.
MOST_BYTES = 512 * 1024
MOST_RESULTS = 500
# While many rows exceed the limit, as after `history` was lowered, extra turns remove them at this interval.
AGAIN_MS = 100
# Results of drops may stay this much longer than `spool.keep`, so that few turns remove many results each.
SOON_MS = 60_000


def prune_history(state: State, kept_before: int) -> None:
    """Removes the oldest ended runs if the store holds more than `history`. `kept_before`: the runs before this turn."""
    surplus = _surplus(state)
    state.pruning = False
    if surplus > SLACK:
        claimed = max(0, state.kept_runs - kept_before)
        removed, state.swept = state.store.runs.prune(state.swept, min(surplus, claimed + SLACK), claimed, MOST_BYTES)
        # A failed run stays until its `on_failure` command has run. All of the surplus may be such runs.
        state.pruning = removed > 0 or state.swept > 0
        state.kept_runs = state.kept_runs - removed if state.pruning else state.store.runs.count()
    else:
        # Runs that had to stay may be removable by now, so the next sweep begins at the first row.
        state.swept = 0


def next_history_prune(state: State) -> int | None:
    """The boot instant of a turn that only removes runs; None if no such turn is needed."""
    return state.moment.boot + AGAIN_MS if state.pruning and _surplus(state) > SLACK else None


def _surplus(state: State) -> int:
    """How many ended runs exceed `history`. Runs that have not ended do not count."""
    surplus = state.kept_runs - state.configuration.history
    return surplus - state.live.total() if surplus > SLACK else 0


def prune_results(state: State) -> None:
    drops, keep = state.store.drops, state.keep
    if state.kept_drops is None:
        state.kept_drops = sum(drops.counts())
    surplus = state.kept_drops - keep.number
    removed = drops.prune(min(surplus, MOST_RESULTS)) if surplus > SLACK else 0
    if state.moment.boot >= state.prune_drops_at:
        removed += drops.prune_before(state.moment.wall - keep.age_ms + 1, MOST_RESULTS)
        state.prune_drops_at = state.moment.boot + _until_next(state, removed)
    state.kept_drops -= removed


def next_results_prune(state: State) -> int | None:
    """The boot instant of a turn that only removes results; None if no such turn is needed. The last result always stays."""
    if state.kept_drops is None or state.kept_drops <= 1:
        return None
    return state.moment.boot + AGAIN_MS if state.kept_drops - state.keep.number > SLACK else state.prune_drops_at


def _until_next(state: State, removed: int) -> int:
    oldest = state.store.drops.oldest_ms()
    if removed == MOST_RESULTS:
        return AGAIN_MS
    if oldest is None:
        # There are no results. One that is stored now is too old after this time.
        return max(state.keep.age_ms, SOON_MS)
    return max(oldest + state.keep.age_ms - state.moment.wall, SOON_MS)
