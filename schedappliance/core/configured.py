"""What follows from another configuration: the declared jobs are those of its rows, and the waiting runs wait for its limits."""

from __future__ import annotations

from schedappliance.core.programs import call_off
from schedappliance.core.state import State
from schedappliance.engine.declared import Reconciliation, reconcile
from schedappliance.engine.options import Options
from schedappliance.engine.reasons import REMOVED, SWITCHED_OFF
from schedappliance.model.configuration import Configuration


def take_options(state: State, options: Options) -> None:
    """The options that a command leaves behind are in effect from now on."""
    before, state.options = state.options.configuration, options
    state.version += 1
    if before is not options.configuration:
        if before.jobs is not options.configuration.jobs:
            state.log("info", str(take_jobs(state, options.configuration)))
        state.read_queue(state.running.jobs)


def take_jobs(state: State, configuration: Configuration) -> Reconciliation:
    """Makes the stored jobs agree with the declared ones; returns what that took."""
    jobs = state.store.jobs
    now = state.moment.wall
    changes = reconcile(configuration.jobs.values(), jobs.declared(), now)
    for removed in changes.removed:
        call_off(state, removed.number, REMOVED)
        jobs.delete(removed.number)
        state.removed.add(removed.number)
    for change in changes.changed:
        if not change.declared.enabled:
            call_off(state, change.job.number, SWITCHED_OFF)
        jobs.change(change)
    for added in changes.added:
        jobs.add(added, now)
    return changes
