"""What follows from another configuration: the declared jobs are those of its rows, and the waiting runs wait for its limits."""

from __future__ import annotations

from schedappliance.commands.outcome import Outcome
from schedappliance.commands.view import View
from schedappliance.core.programs import call_off
from schedappliance.core.state import State
from schedappliance.engine.declared import Reconciliation, reconcile
from schedappliance.engine.reasons import REMOVED, SWITCHED_OFF
from schedappliance.model.configuration import Configuration


def take_options(state: State, view: View, outcome: Outcome) -> None:
    """The options, and the transaction, that a command leaves behind."""
    if outcome.transaction is not None and view.order.connection is not None:
        state.transactions[view.order.connection] = outcome.transaction
    elif outcome.ends_transaction and view.order.connection is not None:
        state.transactions.pop(view.order.connection, None)
    if outcome.options is None or outcome.options is state.options:
        return
    before, state.options = state.options, outcome.options
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
