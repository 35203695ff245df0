"""The counters of `metrics` that survive a restart: what a transaction adds to their rows, and what a start reads.

Rule: the rows change in the transaction that stores what is counted, and memory follows after the commit. So a counter
never goes back, and counts nothing twice, whenever the daemon is killed.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from schedappliance.engine.metrics import sums

if TYPE_CHECKING:
    from schedappliance.core.state import State


def store_counts(state: State) -> None:
    """Adds to the rows what the transaction has counted."""
    if state.counted:
        state.store.counters.add(sums(state.counted))


def read_counters(state: State) -> None:
    """Reads the counters at the start, and removes those of programs and `notify` stanzas that are not declared any more."""
    rows, configuration = state.store.counters.all(), state.configuration
    declared = {"attempts_total": configuration.programs.keys(), "alerts_total": configuration.notify.keys()}
    for key in list(rows):
        name, labels = key
        if name in declared and labels[0] not in declared[name]:
            state.store.counters.delete(key)
            del rows[key]
    state.metrics.counters = Counter({**state.metrics.counters, **rows})
