"""Removes old runs and old results of drops.

Rule: a turn removes a few of them, so that no tick stalls.
"""

# Example: `history` is 1000. The store holds 1150 runs, of which 20 have not ended, and this turn has claimed 5. So 130 runs
# are too many. The turn removes 105 of them: as many as it has added, and SLACK more. The other 25 stay until the surplus
# exceeds SLACK again.

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from schedappliance.engine.intake import Keep

if TYPE_CHECKING:
    from schedappliance.clock import Moment
    from schedappliance.core.running import LiveRuns
    from schedappliance.store.drops import Drops
    from schedappliance.store.runs import Runs

# Pruning begins when the rows exceed their limit by this many. A turn removes at most this many runs more than it adds.
SLACK = 100
# Deletion time grows with the size of the outputs; at most this many bytes per turn.
MOST_BYTES = 512 * 1024
MOST_RESULTS = 500
# While many rows exceed the limit, as after `history` was lowered, extra turns remove them at this interval.
AGAIN_MS = 100
# Results of drops may stay this much longer than `spool.keep`, so that few turns remove many results each.
SOON_MS = 60_000
KEEP = Keep()


@dataclass(slots=True)
class Pruning:
    """How many rows the store holds, and how far they are pruned. It changes in place; State copies it at each turn."""

    # How many results of drops stay, and for how long.
    keep: Keep = KEEP
    stored_runs: int = 0
    # The sweep of old runs continues after this row.
    swept: int = 0
    # Whether the last turn left runs above the limit that further turns can remove.
    is_behind: bool = False
    # None until they are counted.
    stored_results: int | None = None
    # The boot instant at which the oldest result may be too old.
    results_due_ms: int = 0


def prune_history(pruning: Pruning, runs: Runs, history: int, live: LiveRuns, stored_before: int) -> None:
    """Removes the oldest ended runs if the store holds more than `history`.

    `live`: the runs that have not ended, by job. `stored_before`: how many runs the store held before this turn.
    """
    surplus = _surplus(pruning, history, live)
    pruning.is_behind = False
    if surplus > SLACK:
        claimed = max(0, pruning.stored_runs - stored_before)
        removed, pruning.swept = runs.prune(pruning.swept, min(surplus, claimed + SLACK), claimed, MOST_BYTES)
        # A failed run stays until its `on_failure` command has run. If only such runs are left, further turns would remove nothing.
        pruning.is_behind = removed > 0 or pruning.swept > 0
        # If nothing was removed in a whole sweep, the count may be wrong, so it is read again.
        pruning.stored_runs = pruning.stored_runs - removed if pruning.is_behind else runs.count()
    else:
        # Runs that had to stay may be removable by now, so the next sweep begins at the first row.
        pruning.swept = 0


def next_history_prune(pruning: Pruning, history: int, live: LiveRuns, boot_ms: int) -> int | None:
    """The boot instant of a turn that only removes runs; None if no such turn is needed."""
    return boot_ms + AGAIN_MS if pruning.is_behind and _surplus(pruning, history, live) > SLACK else None


def _surplus(pruning: Pruning, history: int, live: LiveRuns) -> int:
    """How many ended runs exceed `history`. Runs that have not ended do not count."""
    surplus = pruning.stored_runs - history
    return surplus - live.total if surplus > SLACK else 0


def prune_results(pruning: Pruning, drops: Drops, moment: Moment) -> None:
    if pruning.stored_results is None:
        pruning.stored_results = sum(drops.counts())
    surplus = pruning.stored_results - pruning.keep.number
    removed = drops.prune(min(surplus, MOST_RESULTS)) if surplus > SLACK else 0
    if moment.boot >= pruning.results_due_ms:
        removed += drops.prune_before(moment.wall - pruning.keep.age_ms + 1, MOST_RESULTS)
        pruning.results_due_ms = moment.boot + _until_next(pruning.keep.age_ms, drops, moment.wall, removed)
    pruning.stored_results -= removed


def next_results_prune(pruning: Pruning, boot_ms: int) -> int | None:
    """The boot instant of a turn that only removes results; None if no such turn is needed.

    The last result always stays.
    """
    if pruning.stored_results is None or pruning.stored_results <= 1:
        return None
    return boot_ms + AGAIN_MS if pruning.stored_results - pruning.keep.number > SLACK else pruning.results_due_ms


def _until_next(age_ms: int, drops: Drops, wall_ms: int, removed: int) -> int:
    oldest = drops.oldest_ms()
    if removed == MOST_RESULTS:
        return AGAIN_MS
    if oldest is None:
        # There are no results. One that is stored now is too old after this time.
        return max(age_ms, SOON_MS)
    return max(oldest + age_ms - wall_ms, SOON_MS)
