"""`sched hold` and `sched release`: maintenance, during which nothing new starts.

Rule: a hold stops no run and forgets no due time. It is stored, so it lasts until its release or its planned end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from schedappliance.commands.outcome import Outcome
from schedappliance.commands.phrases import hold_data, hold_text, time_text
from schedappliance.diagnostics import counted
from schedappliance.engine.records import Hold
from schedappliance.model.command_words import read_hold
from schedappliance.model.commands import Command
from schedappliance.model.values import MAX_TIME_MS
from schedappliance.syntax.command import Word

if TYPE_CHECKING:
    from schedappliance.commands.view import View


def hold(view: View, command: Command) -> Outcome:
    """Holds the appliance. A second hold sets another end, none without `for`; it changes the reason if it gives one."""
    before, (for_ms, reason) = view.status.hold, read_hold([Word(word, 0, 0) for word in command.words])
    now, user, running = view.moment.wall, view.order.user, view.ask.counts().running
    ends_ms = None if for_ms is None else min(now + for_ms, MAX_TIME_MS)
    if before is None:
        new = Hold(now, user, reason, ends_ms=ends_ms)
        until = "" if ends_ms is None else f"{time_text(ends_ms, view.zone)} or "
        text = f"held: nothing new starts until {until}`sched release`; {counted(running, 'program')} still running"
    else:
        new = before._replace(ends_ms=ends_ms, reason=reason or before.reason)
        new = new if new == before else new._replace(user=user)
        text = "; ".join([f"it was already held {hold_text(before, view.zone)}", *_changes(view, before, new)])
    view.store.settings.set_hold(new)
    data = {"held": hold_data(new), "was_held": before is not None, "running": running}
    return Outcome(view.answer(text, data), hold=new)


def _changes(view: View, before: Hold, new: Hold) -> Iterator[str]:
    if new.reason != before.reason:
        yield "the reason has changed"
    if new.ends_ms != before.ends_ms:
        yield (
            "it now has no planned end"
            if new.ends_ms is None
            else f"it now ends at {time_text(new.ends_ms, view.zone)}"
        )


def release(view: View, _command: Command) -> Outcome:
    """Ends a hold. The tick of this turn claims the jobs that have come due."""
    before = view.status.hold
    data = {"held": None, "was_held": before is not None, "was": hold_data(before)}
    if before is None:
        return Outcome(view.answer("it was not held", data))
    now = before._replace(until_ms=view.moment.wall)
    view.store.settings.set_hold(now)
    # The planned end has not come.
    was = hold_text(before._replace(ends_ms=None), view.zone)
    return Outcome(view.answer(f"released; it was held {was}", data), hold=now)
