"""The results of drops are kept for a while: a turn removes a few of those that are too many or too old."""

from __future__ import annotations

from schedappliance.core.state import State

# Results may exceed their number by so many before some are removed, and so many go at once.
SLACK, MOST = 100, 500
# While there are many, a turn follows for them alone; nobody minds a result that stays a minute longer.
AGAIN_MS, SOON_MS = 100, 60_000


def prune_results(state: State) -> None:
    drops, keep = state.store.drops, state.keep
    if state.kept_drops is None:
        state.kept_drops = sum(drops.counts())
    surplus = state.kept_drops - keep.number
    removed = drops.prune(min(surplus, MOST)) if surplus > SLACK else 0
    if state.moment.boot >= state.prune_drops_at:
        removed += drops.prune_before(state.moment.wall - keep.age_ms + 1, MOST)
        state.prune_drops_at = state.moment.boot + _until_next(state, removed)
    state.kept_drops -= removed


def next_results_prune(state: State) -> int | None:
    """The boot instant of a turn that is needed for this alone. The last result stays."""
    if state.kept_drops is None or state.kept_drops <= 1:
        return None
    return state.moment.boot + AGAIN_MS if state.kept_drops - state.keep.number > SLACK else state.prune_drops_at


def _until_next(state: State, removed: int) -> int:
    oldest = state.store.drops.oldest_ms()
    if removed == MOST:
        return AGAIN_MS
    if oldest is None:
        # The next one to come is as old as that when it is too old.
        return max(state.keep.age_ms, SOON_MS)
    return max(oldest + state.keep.age_ms - state.moment.wall, SOON_MS)
