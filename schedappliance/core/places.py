"""Whether a program may start now.

Rule: it starts only in a free place, within its own limit, and a guest's not in a place that is kept for trusted users.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schedappliance.core.running import is_below_limit

if TYPE_CHECKING:
    from schedappliance.core.state import State


def has_place(state: State) -> bool:
    """Whether a program without a limit of its own may start."""
    return len(state.running) + state.instant.places < state.max_running and state.may_start


def has_room(state: State, program: str, guest: int | None) -> bool:
    """Whether a run of a program may start. `guest`: the uid of its user; None for a trusted user."""
    return has_place(state) and (guest is None or state.guests_fit) and program_has_room(state, program)


def program_has_room(state: State, name: str) -> bool:
    """Whether the limit of a program lets a further run of it start."""
    return is_below_limit(state.configuration, state.running, state.instant, name)
