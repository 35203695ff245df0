"""Removes old runs and old results of drops: the oldest of the user with the most. It also removes long runs of guests.

Rule: a turn removes a few of them, so that no tick stalls. Nobody's runs and drops make those of others go.
"""

# Example: `history` is 1000. The store holds 1150 runs, of which 20 have not ended, and this turn has claimed 5. So 130 runs
# are too many. The turn removes 105 of them: as many as it has added, and SLACK more. The other 25 stay until the surplus
# exceeds SLACK again. If root has 700 of the runs and user 1001 has 450, all 105 are the oldest of root. If both have 575,
# about half of them are those of root.

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from schedappliance.engine.intake import Keep, from_the_largest
from schedappliance.engine.undoable import Undoable

if TYPE_CHECKING:
    from schedappliance.clock import Moment
    from schedappliance.core.running import LiveRuns
    from schedappliance.engine.records import RunKey
    from schedappliance.store.drops import Drops
    from schedappliance.store.runs import Runs

# Pruning begins when the rows exceed their limit by this many. A turn removes at most this many runs more than it adds.
SLACK = 100
# Deletion time grows with the size of the outputs; at most this many bytes per turn.
MOST_BYTES = 512 * 1024
MOST_RESULTS = 500
# The most bytes of the long runs of all guests. One guest could fill the disk with 87,500 runs of 140 KB each.
MOST_BYTES_OF_GUESTS = 1 << 30
# After as many long runs as a turn has noted, it removes at most this many more, and stops after this many bytes. They may be
# much shorter than the new ones: an output of 16 MiB takes the place of 4,000 runs.
MOST_LONG, MOST_LONG_BYTES = 500, 16 << 20
# While many rows exceed the limit, as after `history` was lowered, extra turns remove them at this interval.
AGAIN_MS = 100
# Results of drops may stay this much longer than `spool.keep`, so that few turns remove many results each.
SOON_MS = 60_000
KEEP = Keep()


class BytesOfGuests(Undoable[int, int]):
    """How many bytes the long runs of each guest take."""

    def __init__(self, sizes: Mapping[int, int]) -> None:
        super().__init__()
        self._values.update(sizes)

    def add(self, uid: int, size: int) -> None:
        """Counts bytes of a guest, or with a negative number fewer of them."""
        self[uid] = self.get(uid, 0) + size
        if not self[uid]:
            del self[uid]


class Sweep(NamedTuple):
    """The removal of a user's runs continues behind this row; `removed` were removed since the first row."""

    behind: int = 0
    removed: int = 0


@dataclass(slots=True)
class Pruning:
    """How many rows the store holds, and how far they are pruned. It changes in place; State copies it at each turn."""

    # How many results of drops stay, and for how long.
    keep: Keep = KEEP
    stored_runs: int = 0
    bytes_of_guests: BytesOfGuests = field(default_factory=lambda: BytesOfGuests({}))
    # Whether their sum may exceed the limit, and how many runs were noted since long runs were last removed.
    is_long: bool = True
    noted: int = 0
    # By uid. A turn that fails needs the old ones, so they are replaced.
    sweeps: Mapping[int, Sweep] = field(default_factory=dict)
    # Whether the last turn left runs above the limit that further turns can remove.
    is_behind: bool = False
    # None until they are counted.
    stored_results: int | None = None
    # The boot instant at which the oldest result may be too old.
    results_due_ms: int = 0

    def count_runs(self, runs: Runs) -> None:
        self.stored_runs = runs.count()
        self.bytes_of_guests, self.is_long = BytesOfGuests(runs.bytes_by_user()), True

    def note_end(self, runs: Runs, key: RunKey) -> None:
        """Counts the bytes of a run of a guest that has ended, if it is a long one."""
        uid, size = runs.note_bytes(key)
        if size:
            self.bytes_of_guests.add(uid, size)
            self.is_long = True
            self.noted += 1

    def forget(self, uid: int, number: int, size: int) -> None:
        """Counts runs that were removed. `size`: the bytes of the long runs of a guest among them."""
        self.stored_runs -= number
        if size:
            self.bytes_of_guests.add(uid, -size)


def prune_history(pruning: Pruning, runs: Runs, history: int, live: LiveRuns, stored_before: int) -> None:
    """Removes ended runs if the store holds more than `history`: the oldest of the users with the most runs.

    `live`: the runs that have not ended, by job. `stored_before`: how many runs the store held before this turn.
    """
    surplus = _surplus(pruning, history, live)
    pruning.is_behind = False
    if surplus > SLACK:
        claimed = max(0, pruning.stored_runs - stored_before)
        removed = _remove(pruning, runs, min(surplus, claimed + SLACK), claimed, history)
        # A failed run stays until its `on_failure` command has run. If only such runs are left, further turns would remove nothing.
        pruning.is_behind = pruning.is_behind or removed > 0
        if not pruning.is_behind:
            # The count may be wrong, so it is read again.
            pruning.count_runs(runs)


def _remove(pruning: Pruning, runs: Runs, most: int, least: int, history: int) -> int:
    """Removes at most `most` runs, and returns how many it removed. Sets `is_behind` if it stopped before the last row."""
    of_users = runs.count_by_user()
    counts = {0: pruning.stored_runs - sum(of_users.values()), **of_users}
    removed = size = 0
    while shares := from_the_largest(counts, most - removed):
        for uid, share in shares.items():
            sweep = pruning.sweeps.get(uid, Sweep())
            done = runs.prune(uid, sweep.behind, share, max(0, least - removed), MOST_BYTES - size)
            removed, size, counts[uid] = removed + done.removed, size + done.size, counts[uid] - done.removed
            pruning.forget(uid, done.removed, done.noted)
            swept = sweep.removed + done.removed
            # Runs that had to stay may be removable later. A sweep that began again more often would pass over many rows.
            is_over = done.is_over or swept >= history
            pruning.sweeps = {**pruning.sweeps, uid: Sweep() if is_over else Sweep(done.swept, swept)}
            if done.is_over and not swept:
                # None of this user's runs can be removed now, so others take the share.
                del counts[uid]
            elif done.removed < share:
                pruning.is_behind = True
                return removed
    return removed


def prune_long_runs(pruning: Pruning, runs: Runs) -> None:
    """Removes the oldest long runs of the guest with the most bytes, if those of all guests exceed their limit.

    Leaves `is_long` set if further turns can remove more.
    """
    left = dict(pruning.bytes_of_guests)
    surplus = _surplus_bytes(pruning)
    removed = removed_bytes = 0
    while surplus > 0 and left:
        if removed >= pruning.noted + MOST_LONG or (removed > pruning.noted and removed_bytes >= MOST_LONG_BYTES):
            break
        uid = max(left, key=lambda uid: left[uid])
        if size := runs.remove_long(uid):
            pruning.forget(uid, 1, size)
            left[uid] -= size
            surplus -= size
            removed, removed_bytes = removed + 1, removed_bytes + size
        else:
            # The others are needed: a command has yet to answer their failures.
            del left[uid]
    pruning.is_long = surplus > 0 and bool(left)
    pruning.noted = 0


def next_history_prune(pruning: Pruning, history: int, live: LiveRuns, boot_ms: int) -> int | None:
    """The boot instant of a turn that only removes runs; None if no such turn is needed."""
    is_needed = (pruning.is_long and _surplus_bytes(pruning) > 0) or (
        pruning.is_behind and _surplus(pruning, history, live) > SLACK
    )
    return boot_ms + AGAIN_MS if is_needed else None


def _surplus_bytes(pruning: Pruning) -> int:
    return sum(pruning.bytes_of_guests.values()) - MOST_BYTES_OF_GUESTS


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
