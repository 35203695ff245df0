"""Outputs of programs: one that is stored after the end of its program, and trouble with them.

Rule: no trouble with an output changes the end of its run.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schedappliance.core.state import State
    from schedappliance.engine.events import (
        OutputEmptied,
        OutputFlooded,
        OutputsChecked,
        OutputUnreadable,
        ProgramOutput,
    )


def output_kept(state: State, event: ProgramOutput) -> None:
    """Stores the output of a program whose end is stored already. The run may have been pruned meanwhile."""
    run = state.store.runs.past(event.key.run)
    if run is not None:
        state.store.runs.add_output(event.key, event.output, event.output_bytes)
        if run.ended_ms is not None and run.uid not in state.status.trusted:
            state.pruning.note_end(state.store.runs, event.key.run)


def output_emptied(state: State, event: OutputEmptied) -> None:
    name = state.named(event.key.run)
    remedy = "stop it, or redirect its output"
    state.log(
        "warning", f"a process that run {name} left fills its output: {event.size} bytes were discarded; {remedy}"
    )


def output_flooded(state: State, event: OutputFlooded) -> None:
    name, seconds = state.named(event.key.run), event.milliseconds / 1000
    what = f"the program of run {name} could fill the disk: {event.size} bytes of its output were discarded after {seconds:.1f} s"
    state.log("warning", f"{what}; let it write less, or stop it: `sched stop {name}`")


def output_unreadable(state: State, event: OutputUnreadable) -> None:
    state.log("warning", f"the output of run {state.named(event.key.run)} cannot be read: {event.reason}")


def outputs_checked(state: State, event: OutputsChecked) -> None:
    """Degrades the appliance while it cannot start programs. None starts meanwhile, since each start would fail."""
    if event.problem and event.problem != state.status.outputs:
        state.log("error", f"degraded: {event.problem}; programs wait; trying again every second")
    elif state.status.outputs and event.problem is None:
        state.log("info", "programs can be started again")
    state.status = replace(state.status, outputs=event.problem)
