"""The history is kept short: a little is removed in each turn that adds to it, so that no tick stalls."""

from __future__ import annotations

from schedappliance.core.state import State

# Runs may exceed the limit by so many before some are removed, and so many go at once.
SLACK = 500
AT_ONCE = 2 * SLACK


def prune(state: State) -> None:
    """Removes the oldest ended runs when more are kept than `history` says."""
    if state.kept_runs > state.configuration.history + SLACK:
        surplus = state.kept_runs - state.configuration.history
        removed = state.store.runs.prune(min(surplus, AT_ONCE))
        state.kept_runs = state.kept_runs - removed if removed else state.store.runs.count()
