"""`sched hold` and `sched release`: maintenance, during which nothing new starts.

Rule: a hold stops no run and forgets no due time. It is stored, so it lasts until somebody ends it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schedappliance.commands.outcome import Outcome
from schedappliance.commands.phrases import hold_data, hold_text
from schedappliance.diagnostics import counted
from schedappliance.engine.records import Hold
from schedappliance.model.command_words import hold_reason
from schedappliance.model.commands import Command

if TYPE_CHECKING:
    from schedappliance.commands.view import View


def hold(view: View, command: Command) -> Outcome:
    """Holds the appliance. A second hold changes the reason, if it has one."""
    before, reason = view.status.hold, hold_reason(command.words)
    now = before or Hold(view.moment.wall, view.order.user, reason)
    if reason != now.reason and reason:
        now = now._replace(user=view.order.user, reason=reason)
    view.store.settings.set_hold(now)
    running = view.counts().running
    text = f"held: nothing new starts until `sched release`; {counted(running, 'program')} still running"
    if before is not None:
        text = f"it was already held {hold_text(before)}" + ("" if now == before else "; the reason has changed")
    data = {"held": hold_data(now), "was_held": before is not None, "running": running}
    return Outcome(view.answer(text, data), hold=now)


def release(view: View, _command: Command) -> Outcome:
    """Ends a hold. The tick of this turn claims the jobs that have come due."""
    before = view.status.hold
    data = {"held": None, "was_held": before is not None, "was": hold_data(before)}
    if before is None:
        return Outcome(view.answer("it was not held", data))
    now = before._replace(until_ms=view.moment.wall)
    view.store.settings.set_hold(now)
    return Outcome(view.answer(f"released; it was held {hold_text(before)}", data), hold=now)
