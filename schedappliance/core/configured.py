"""What follows from another configuration: the declared jobs are those of its rows, and the waiting runs wait for its limits."""

from __future__ import annotations

from schedappliance.commands.context import Context
from schedappliance.core.programs import call_off
from schedappliance.core.state import State
from schedappliance.engine.declared import Reconciliation, reconcile
from schedappliance.engine.reasons import REMOVED, SWITCHED_OFF
from schedappliance.model.configuration import Configuration


def take_options(state: State, context: Context) -> None:
    """The options, and the transaction, that a command leaves behind."""
    if context.connection is not None:
        if context.transaction is None:
            state.transactions.pop(context.connection, None)
        else:
            state.transactions[context.connection] = context.transaction
    if context.options is state.options:
        return
    before, state.options = state.options, context.options
    state.version += 1
    if before.configuration is not state.configuration:
        if before.configuration.jobs is not state.configuration.jobs:
            state.log("info", str(take_jobs(state, state.configuration)))
        state.read_queue({key.job for key in state.running})


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
