"""Declared jobs: makes the rows of the store agree with the stanza files and the overrides.

Rule: this module only writes the rows. `follow_declared` in orders.py then claims what was due before, which may carry out
commands that change the jobs again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from schedappliance.commands.view import NO_NUMBERS
from schedappliance.core.alerts import close_outdated_incidents
from schedappliance.core.calendars import read_zones
from schedappliance.core.runs import call_off, miss_and_advance
from schedappliance.engine.declared import (
    Boot,
    Change,
    Overdue,
    Reconciliation,
    due_times_of,
    reconcile,
    schedule_before,
    with_seeds,
)
from schedappliance.engine.reasons import REMOVED, SWITCHED_OFF, WHILE_PAUSED, Reason
from schedappliance.engine.records import Job, NewJob
from schedappliance.engine.schedule import Schedules, what_is_due
from schedappliance.store.failures import cannot_store

if TYPE_CHECKING:
    from schedappliance.core.state import State


def take_jobs(state: State, names: frozenset[str] | None, is_new_boot: bool, is_reload: bool) -> Reconciliation:
    """Makes the stored jobs agree with the declared ones; returns the changes. The arguments are those of `follow_declared`."""
    jobs, configuration = state.store.jobs, state.configuration
    now = state.moment.wall
    before = state.schedules
    if (before.days, before.zone) != (configuration.days, configuration.zone):
        state.schedules = Schedules(before.zones, configuration.days, configuration.zone)
    state.unclaimable = frozenset()
    boot = Boot(state.boot, now - state.moment.boot, is_new_boot)
    concerned = [job for name, job in configuration.jobs.items() if names is None or name in names]
    stored = jobs.declared() if names is None else jobs.declared_as(list(names))
    changes = reconcile(with_seeds(concerned, state.store.node), stored, now, state.schedules, boot, before)
    for removed in changes.removed:
        call_off(state, removed.number, REMOVED)
        _miss_overdue(state, removed, before, REMOVED)
        jobs.delete(removed.number)
        state.store.counters.forget_job(removed.number)
        state.handled.add(removed.number)
    for change in changes.changed:
        _change(state, change, before)
    if changes.added and not jobs.has_numbers(len(changes.added)):
        raise cannot_store("; ".join(NO_NUMBERS))
    for added in changes.added:
        jobs.add(added, now)
    names_now = [change.job.declared for change in changes.changed] + [added.declared for added in changes.added]
    read_zones(state, [configuration.jobs[name] for name in names_now if name is not None])
    close_outdated_incidents(state, None if is_reload else [change.job.number for change in changes.changed])
    return replace(changes, unchanged=len(configuration.jobs) - len(changes.added) - len(changes.changed))


def _change(state: State, change: Change, before: Schedules) -> None:
    """Gives a job its new declaration."""
    number, now = change.job.number, state.moment.wall
    new = change.new
    is_overdue = change.leaves_overdue(now)
    if new.kind == "at" and _is_decided(state, number, new.next_run_ms, change.overdue(before) if is_overdue else None):
        new = new._replace(next_run_ms=None)
        change = change._replace(new=new)
    if not new.enabled:
        call_off(state, number, SWITCHED_OFF)
    state.store.jobs.change(change)
    # A tick that carries out this change may have read the old row already.
    state.handled.add(number)
    if not new.enabled:
        _miss_overdue(state, change.job, before, SWITCHED_OFF, new)
    elif is_overdue:
        state.overdue.add(change.overdue(before))


def _is_decided(state: State, number: int, due_ms: int | None, overdue: Overdue | None) -> bool:
    """Whether the history shows what became of a time of `at`, or will do so when `overdue` and the others are claimed."""
    if due_ms is None or due_ms > state.moment.wall:
        return False
    if overdue is not None and overdue.includes(due_ms):
        return True
    return state.overdue.includes(number, due_ms) or state.store.runs.has_due(number, due_ms)


def _miss_overdue(state: State, row: Job, before: Schedules, reason: Reason, new: NewJob | None = None) -> None:
    """Records the due times that passed before the files removed a job or switched it off. They do not run.

    `new`: its new declaration.
    """
    now = state.moment.wall
    if row.enabled and row.next_run_ms is not None and row.next_run_ms <= now:
        due = what_is_due(schedule_before(row, before), row.next_run_ms, now)
        if new is not None and due_times_of(new.schedule) != due_times_of(row.schedule):
            due = due._replace(next_ms=new.next_run_ms)
        miss_and_advance(state, row, due, WHILE_PAUSED if row.paused else reason)
