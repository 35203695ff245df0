"""Runs whose programs run in another pid namespace, where this daemon cannot see them, and whose keeper is gone.

Rule: nobody says that such a program has ended, or runs it again, while a process writes to its output.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schedappliance.core.state import State
    from schedappliance.engine.attempts import Running


def keep_unseen(state: State, running: Running) -> Running:
    """Counts a program that cannot be seen as running. No timeout applies to it: no signal would reach it."""
    unseen = replace(running, term_at=None, is_unseen=True)
    state.running[running.key.run] = unseen
    follow_unseen(state)
    state.log("warning", f"run {state.named(running.key.run)} continues: {state.status.why_unseen}")
    return unseen


def follow_unseen(state: State) -> None:
    """Names the runs whose programs cannot be seen now: the appliance is degraded while there are any."""
    names = tuple(state.named(key) for key, running in state.running.items() if running.is_unseen)
    state.status = replace(state.status, unseen=names)
