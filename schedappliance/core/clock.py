"""Follows the wall clock when it is set, even while the appliance is not running. Also ends a hold when its end has come.

Rule: when the clock is set back, the jobs move back with it. When the clock is corrected, the jobs move forward again.
"""

# Example: a job of `every = 1h` that is due at 13:00, while somebody corrects the clock twice.
#
#   12:00 -> 10:00   A step back of two hours. The job is now due at 11:00, one hour from now as before: otherwise it would
#                    not run for three hours. The store keeps the step: [12:00, 2 h].
#   11:00            The job runs and is due at 12:00. No occurrence repeats, since occurrences are numbered.
#   11:30 -> 13:30   A step forward of two hours, which undoes the step back. The job is now due at 14:00, half an hour from
#                    now as before.
#
# A step forward that undoes nothing counts as downtime: `catch_up` decides about the due times in it. The sizes and the
# undoing of steps are in engine/clockstep.py, and calendar jobs in calendars.py.

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from schedappliance.clock import Moment
from schedappliance.commands.phrases import hold_text
from schedappliance.core.calendars import (
    put_calendars_right,
    remember_new_jobs,
    set_calendars_back,
    skip_to_creation,
)
from schedappliance.engine.clockstep import (
    StepsBack,
    another_step_back,
    step_back_across_boots_ms,
    step_back_ms,
    step_forward_ms,
    steps_undone_across_boots,
    steps_undone_by,
)

if TYPE_CHECKING:
    from schedappliance.core.state import State
    from schedappliance.engine.records import Hold

FOLLOW = "the jobs follow it"
PUT_RIGHT = "it is right again, and the jobs have their old due times again"


def follow_clock(state: State) -> None:
    """Moves the jobs with a step of the clock: back with a step back, and forward with a step that undoes steps back.

    Otherwise they would wait until the clock shows the old time again.
    """
    back = step_back_ms(state.steady, state.moment)
    forward = step_forward_ms(state.steady, state.moment)
    if back or forward:
        state.steady = state.moment
        state.remember_tick()
    if back:
        _follow_back(state, back)
        _move_start(state, -back)
        state.log("warning", f"the clock was set back by {back / 1000:.1f} seconds; {FOLLOW}")
    if forward:
        # The jobs of `at = boot` count from the boot, whose wall time moves.
        state.store.jobs.set_forward_at_boot(forward)
        ending = ""
        if steps := steps_undone_by(_steps_back(state), forward, state.moment.wall):
            _undo_steps_back(state, steps)
            _move_start(state, forward)
            ending = f"; {PUT_RIGHT}"
        skip_to_creation(state, forward)
        state.log("warning", f"the clock was set forward by {forward / 1000:.1f} seconds{ending}")


def follow_clock_since_last_tick(state: State) -> None:
    """Follows the clock across a restart."""
    _, last = state.store.settings.last_tick()
    if last is None:
        remember_new_jobs(state)
    elif state.boot.has_ticked and last.boot <= state.moment.boot:
        _follow_in_this_boot(state, last)
    else:
        _follow_across_boots(state, last.wall)


def _follow_in_this_boot(state: State, last: Moment) -> None:
    """The boot clock shows by how much the wall clock was set."""
    _follow_back_since_last_tick(state, step_back_ms(last, state.moment))
    forward = step_forward_ms(last, state.moment)
    steps = steps_undone_by(_steps_back(state), forward, state.moment.wall)
    _follow_forward_since_last_tick(state, forward, steps)


def _follow_across_boots(state: State, last_wall_ms: int) -> None:
    """No boot clock shows the step. A step back shows only if the wall clock is now behind the last tick."""
    known = _steps_back(state)
    if known is None or known.before_ms <= last_wall_ms:
        # The clock is not known to be wrong, so only jobs from now on can get a wrong instant of creation.
        remember_new_jobs(state)
    _follow_back_since_last_tick(state, step_back_across_boots_ms(last_wall_ms, state.moment))
    created = int(state.store.settings.meta("created_ms") or 0)
    steps = steps_undone_across_boots(_steps_back(state), last_wall_ms, created, state.moment.wall)
    _follow_forward_since_last_tick(state, 0, steps)


def _follow_back_since_last_tick(state: State, back: int) -> None:
    if back:
        _follow_back(state, back)
        state.log("warning", f"the clock was set back by {back / 1000:.1f} seconds since the last tick; {FOLLOW}")


def _follow_forward_since_last_tick(state: State, forward: int, steps: tuple[int, ...]) -> None:
    """`forward`: 0 if the size of the step is not known. `steps`: the steps back that it undoes."""
    _undo_steps_back(state, steps)
    if forward:
        state.store.jobs.set_forward_at_boot(forward)
    if forward or steps:
        skip_to_creation(state, forward or sum(steps))
        by = f" by {forward / 1000:.1f} seconds" if forward else ""
        ending = f"; {PUT_RIGHT}" if steps else ""
        state.log("warning", f"the clock was set forward{by} since the last tick{ending}")


def _follow_back(state: State, back: int) -> None:
    """Moves jobs and retries back, and remembers the step.

    Only the rows of retries move. The retries in memory wait for boot time, which no step changes.
    """
    before, steps = another_step_back(_steps_back(state), back, state.moment.wall)
    state.store.jobs.set_back(back)
    set_calendars_back(state, back, is_first=len(steps) == 1)
    state.store.runs.set_back(back)
    _move_reminders(state, -back)
    _move_hold(state, -back)
    state.store.settings.set_meta("steps_back", json.dumps([before, *steps]))


def _undo_steps_back(state: State, steps: tuple[int, ...]) -> None:
    """Undoes steps back one by one, the last one first.

    A job of `every` moved by whole periods at each step, so one step of their sum could move it by another number of
    periods. Calendar jobs have no periods, and are put right once.
    """
    known = _steps_back(state)
    for step in steps:
        state.store.jobs.set_forward(step)
        state.store.runs.set_back(-step)
        _move_reminders(state, step)
        _move_hold(state, step)
    if steps and known:
        put_calendars_right(state, known.before_ms)
        state.store.settings.set_meta("steps_back", "[]")


def _steps_back(state: State) -> StepsBack | None:
    """The steps back as stored: [wall time before the first step, step, step, ...], or [] if there are none."""
    stored = json.loads(state.store.settings.meta("steps_back") or "[]")
    return StepsBack(stored[0], tuple(stored[1:])) if stored else None


def _move_reminders(state: State, by: int) -> None:
    if state.remind_at is not None:
        state.store.incidents.set_back(-by)
        state.read_incidents()


def _move_hold(state: State, by: int) -> None:
    """Moves the last hold with the jobs, so that it still covers the due times that passed in it."""
    if hold := state.store.settings.hold():
        _store_hold(state, hold.moved(by))


def end_hold(state: State) -> None:
    """Ends a hold whose planned end has come, perhaps before the start of the daemon."""
    hold = state.status.hold
    if hold is not None and hold.ends_ms is not None and hold.ends_ms <= state.moment.wall:
        _store_hold(state, hold._replace(until_ms=hold.ends_ms))
        state.log("info", f"the hold has ended as planned; it was held {hold_text(hold, state.zone)}")
        state.tell("hold", held=None)


def _store_hold(state: State, hold: Hold) -> None:
    state.store.settings.set_hold(hold)
    state.set_hold(hold)


def _move_start(state: State, by: int) -> None:
    """Moves the start of the daemon with the clock, so that due times before the start still count as downtime."""
    started = state.status.started
    state.status = replace(state.status, started=Moment(started.wall + by, started.boot))
