"""Follows the wall clock when it is set, even while the appliance is not running. Also ends holds as planned.

Rule: when the clock is set back, the jobs move back with it. When the clock is corrected, the jobs move forward again.
"""

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
    put_right,
    put_right_across_boots,
    step_back_across_boots_ms,
    step_back_ms,
    step_forward_ms,
)

if TYPE_CHECKING:
    from schedappliance.core.state import State
    from schedappliance.engine.records import Hold

FOLLOW = "the jobs follow it"
PUT_RIGHT = "it is right again, and the jobs have their old due times again"


def follow_clock(state: State) -> None:
    """Moves the jobs back after the clock was set back, so that they do not wait until it shows the old time again.

    No occurrence repeats, since occurrences are numbered.
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
        state.store.jobs.set_forward_at_boot(forward)
        ending = ""
        if steps := put_right(_steps_back(state), forward, state.moment.wall):
            _undo(state, steps)
            _move_start(state, forward)
            ending = f"; {PUT_RIGHT}"
        skip_to_creation(state, forward)
        state.log("warning", f"the clock was set forward by {forward / 1000:.1f} seconds{ending}")


def follow_clock_since_last_tick(state: State) -> None:
    """Follows the clock across a restart.

    Within one boot, the boot clock shows by how much the wall clock was set. Across boots, a step is detected only if the
    wall clock is now behind the last tick.
    """
    settings = state.store.settings
    (_, last), now = settings.last_tick(), state.moment
    if last is None:
        remember_new_jobs(state)
        return
    wall, same_boot = last.wall, state.boot.has_ticked and last.boot <= now.boot
    known = _steps_back(state)
    if not same_boot and (known is None or known.before_ms <= wall):
        remember_new_jobs(state)
    if back := step_back_ms(last, now) if same_boot else step_back_across_boots_ms(wall, now):
        _follow_back(state, back)
        state.log("warning", f"the clock was set back by {back / 1000:.1f} seconds since the last tick; {FOLLOW}")
    forward = step_forward_ms(last, now) if same_boot else 0
    known, created = _steps_back(state), int(settings.meta("created_ms") or 0)
    steps = put_right(known, forward, now.wall) if same_boot else put_right_across_boots(known, wall, created, now.wall)
    _undo(state, steps)
    if forward:
        state.store.jobs.set_forward_at_boot(forward)
    if forward or steps:
        skip_to_creation(state, forward or sum(steps))
        by = f" by {forward / 1000:.1f} seconds" if forward else ""
        ending = f"; {PUT_RIGHT}" if steps else ""
        state.log("warning", f"the clock was set forward{by} since the last tick{ending}")


def _follow_back(state: State, back: int) -> None:
    """Moves jobs and retries back, and remembers the step.

    The rows of retries hold wall time. Memory holds their boot time, which does not move.
    """
    before, steps = another_step_back(_steps_back(state), back, state.moment.wall)
    state.store.jobs.set_back(back)
    set_calendars_back(state, back, is_first=len(steps) == 1)
    state.store.runs.set_back(back)
    _move_reminders(state, back)
    _move_hold(state, -back)
    state.store.settings.set_meta("steps_back", json.dumps([before, *steps]))


def _undo(state: State, steps: tuple[int, ...]) -> None:
    """Undoes steps one by one: a job of `every` moved by whole periods at each step. A calendar has no phase to restore."""
    known = _steps_back(state)
    for step in steps:
        state.store.jobs.set_forward(step)
        state.store.runs.set_back(-step)
        _move_reminders(state, -step)
        _move_hold(state, step)
    if steps and known:
        put_calendars_right(state, known.before_ms)
        state.store.settings.set_meta("steps_back", "[]")


def _steps_back(state: State) -> StepsBack | None:
    before, *steps = json.loads(state.store.settings.meta("steps_back") or "[]") or [0]
    return StepsBack(before, tuple(steps)) if steps else None


def _move_reminders(state: State, back: int) -> None:
    if state.remind_at is not None:
        state.store.incidents.set_back(back)
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
