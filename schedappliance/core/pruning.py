"""The history and the results of drops are kept short: a turn removes a little, so that no tick stalls."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schedappliance.core.state import State

# Rows may exceed their limit by this many before some are removed; runs go beside as many as the turn added.
SLACK = 100
# Deletion time grows with the size of the outputs; at most this many bytes per turn.
MOST_BYTES = 512 * 1024
MOST_RESULTS = 500
# While many rows are too many, as after `history` was lowered, a turn follows for them alone.
AGAIN_MS = 100
# Nobody minds a result that stays a minute longer.
SOON_MS = 60_000


def prune_history(state: State, kept_before: int) -> None:
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


def next_history_prune(state: State) -> int | None:
    """The boot instant of a turn that is needed for this alone."""
    return state.moment.boot + AGAIN_MS if state.pruning and _surplus(state) > SLACK else None


def _surplus(state: State) -> int:
    """What has not ended is no history yet."""
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
    """The boot instant of a turn that is needed for this alone. The last result stays."""
    if state.kept_drops is None or state.kept_drops <= 1:
        return None
    return state.moment.boot + AGAIN_MS if state.kept_drops - state.keep.number > SLACK else state.prune_drops_at


def _until_next(state: State, removed: int) -> int:
    oldest = state.store.drops.oldest_ms()
    if removed == MOST_RESULTS:
        return AGAIN_MS
    if oldest is None:
        # The next one to come is as old as that when it is too old.
        return max(state.keep.age_ms, SOON_MS)
    return max(oldest + state.keep.age_ms - state.moment.wall, SOON_MS)
