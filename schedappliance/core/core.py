"""The deciding thread's body. Law: a turn is one transaction; its effects are handed out only after the commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from schedappliance.clock import Moment
from schedappliance.commands.context import Refused, refusal
from schedappliance.core import programs
from schedappliance.core.drops import drop_claimed
from schedappliance.core.due import tick
from schedappliance.core.lines import line_typed
from schedappliance.core.recovery import Survivor, recover
from schedappliance.core.reload import files_read, reload_requested
from schedappliance.core.state import State
from schedappliance.diagnostics import Diagnostic, Source
from schedappliance.engine.effects import Effect, Log, Reply
from schedappliance.engine.events import (
    DropClaimed,
    Event,
    FilesRead,
    LineTyped,
    ProgramEnded,
    ProgramNotStarted,
    ProgramStarted,
    ReloadRequested,
    StopRequested,
)
from schedappliance.engine.records import RunKey
from schedappliance.store.database import StoreFailed

RETRY_MS = 1000


class Core:
    """Takes events and the time, returns effects. Same store, same events, same times: same rows, same effects."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._backlog: list[Event] = []
        self._retry_at: int | None = None

    def start(
        self,
        survivors: Mapping[tuple[RunKey, int], Survivor],
        digest: str,
        texts: tuple[tuple[str, str], ...],
    ) -> list[Effect]:
        """The turn before the first tick; raises StoreFailed."""
        with self.state.store.transaction():
            recover(self.state, survivors, digest, texts)
        return self._effects()

    def turn(self, events: Iterable[Event], moment: Moment) -> list[Effect]:
        """Handles the events, then what is due, in one transaction. A failed commit undoes all of it, visibly."""
        state = self.state
        state.moment = moment
        pending = [*self._backlog, *events]
        before = state.remember()
        try:
            with state.store.transaction():
                for event in pending:
                    _HANDLERS[type(event)](state, event)
                if not state.stopping:
                    tick(state)
                if not state.stopping:
                    programs.start_queued(state)
                programs.send_signals(state)
                programs.finish_stopping(state)
        except StoreFailed as failure:
            state.restore(before)
            return self._failed(pending, failure)
        self._backlog, self._retry_at = [], None
        return self._effects()

    def wake(self) -> tuple[int | None, int | None]:
        """When the next turn is due, if nothing comes in: wall time, and boot time, in milliseconds."""
        deadlines = [r.deadline for r in self.state.running.values() if r.deadline is not None]
        if self._retry_at is not None:
            return None, min([self._retry_at, *deadlines])
        due = None if self.state.stopping else self.state.store.jobs.next_due()
        return due, min(deadlines, default=None)

    def _effects(self) -> list[Effect]:
        effects, self.state.effects = self.state.effects, []
        self.state.removed.clear()
        return effects

    def _failed(self, events: list[Event], failure: StoreFailed) -> list[Effect]:
        """Whoever typed hears of it at once; what cannot be told again is kept and tried again."""
        self._effects()
        self._backlog = [event for event in events if not isinstance(event, LineTyped)]
        self._retry_at = self.state.moment.boot + RETRY_MS
        effects: list[Effect] = [Log("error", f"the store cannot be written: {failure}; nothing was done")]
        for event in events:
            if isinstance(event, LineTyped):
                help = "nothing was changed; see that its disk has room and is writable"
                said = Diagnostic(
                    "E504", f"the store cannot be written: {failure}", help, Source("<command>", event.line)
                )
                effects.append(Reply(event.reply_to, refusal(Refused([said]))))
        try:
            self.state.read_back()
        except StoreFailed as again:
            effects.append(Log("error", f"the store cannot be read: {again}"))
        return effects


def _drop(state: State, event: DropClaimed) -> None:
    """While the appliance stops, a claimed file stays in work/; the next start takes it up again."""
    if not state.stopping:
        drop_claimed(state, event)


_HANDLERS: dict[type, Callable[[State, Any], None]] = {
    LineTyped: line_typed,
    DropClaimed: _drop,
    ProgramStarted: programs.program_started,
    ProgramNotStarted: programs.program_not_started,
    ProgramEnded: programs.program_ended,
    FilesRead: files_read,
    ReloadRequested: reload_requested,
    StopRequested: lambda state, event: programs.stop(state, event.reason),
}
