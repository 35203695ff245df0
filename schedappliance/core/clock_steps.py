"""The wall clock may be set back or forward, while the appliance runs and while it does not; the jobs follow it."""

from __future__ import annotations

from schedappliance.clock import Moment
from schedappliance.core.state import State
from schedappliance.engine.clockstep import set_back, set_back_across_boots, set_forward


def follow_clock(state: State) -> None:
    """A clock that was set back takes the jobs with it, so that nothing stalls; occurrences are numbered, nothing repeats."""
    back = set_back(state.steady, state.moment)
    forward = set_forward(state.steady, state.moment)
    if back or forward:
        state.steady = state.moment
        remember_tick(state)
    if back:
        _set_back(state, back)
        # What was due before the start is still known by the clock as it is now.
        started = state.status.started
        state.status.started = Moment(started.wall - back, started.boot)
        state.log("warning", f"the clock was set back by {back / 1000:.1f} seconds; the jobs follow it")
    if forward:
        state.log("warning", f"the clock was set forward by {forward / 1000:.1f} seconds")


def follow_clock_since_last_tick(state: State) -> None:
    """The same across a restart: within one boot the boot clock tells, else only that it is earlier than it was."""
    settings = state.store.settings
    wall, boot, boot_id = (settings.meta(key) for key in ("last_wall_ms", "last_boot_ms", "last_boot_id"))
    if wall is None:
        return
    same_boot = boot_id == state.boot_id and boot <= state.moment.boot
    now = state.moment
    back = set_back(Moment(wall, boot), now) if same_boot else set_back_across_boots(wall, now)
    if same_boot and (forward := set_forward(Moment(wall, boot), now)):
        state.log("warning", f"the clock was set forward by {forward / 1000:.1f} seconds since the last tick")
    if back:
        _set_back(state, back)
        state.log(
            "warning", f"the clock was set back by {back / 1000:.1f} seconds since the last tick; the jobs follow it"
        )


def _set_back(state: State, milliseconds: int) -> None:
    """What waits for an attempt is known by the boot clock while the appliance runs, by the wall clock afterwards."""
    state.store.jobs.set_back(milliseconds)
    state.store.runs.set_back(milliseconds)


def remember_tick(state: State) -> None:
    """When the appliance last decided something; written with what it decided."""
    settings = state.store.settings
    settings.set_meta("last_wall_ms", state.moment.wall)
    settings.set_meta("last_boot_ms", state.moment.boot)
    settings.set_meta("last_boot_id", state.boot_id)
