"""`sched stop`: cancels a run that waits, or ends the program of a run.

Rule: a program can be ended although the store cannot be written: it may be the one that fills the disk.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from schedappliance.core.runs import end_run
from schedappliance.core.stopping import terminate
from schedappliance.engine.attempts import Ending
from schedappliance.engine.events import ProgramStopped
from schedappliance.engine.reasons import stopped_by
from schedappliance.engine.states import RunState

if TYPE_CHECKING:
    from schedappliance.core.state import State
    from schedappliance.engine.records import RunKey


def stop_run(state: State, key: RunKey, user: str) -> None:
    """Cancels a run that waits, or ends its program. If TERM was sent before, the instant of KILL stays."""
    if unrecorded := state.unrecorded:
        unrecorded.check(key, state.running)
    if state.queue.remove(key):
        end_run(state, key, RunState.CANCELLED, stopped_by(user), state.moment.wall)
        return
    running = state.running[key]
    if running.ending is Ending.CANCELLED:
        return
    if unrecorded:
        unrecorded.stops.append(ProgramStopped(running.key, user))
    else:
        state.store.runs.mark_stopped(running.key, user)
    terminate(state, replace(running, stopped_by=user), Ending.CANCELLED)


def record_stop(state: State, event: ProgramStopped) -> None:
    """Stores who stopped a program, which the store could not record then. The end of the program may be stored already."""
    running = state.running.get(event.key.run)
    if running is not None and running.key == event.key:
        state.store.runs.mark_stopped(event.key, event.user)
