"""The deciding thread's body. Law: a turn is one transaction; its effects are handed out only after the commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from schedappliance.clock import Moment
from schedappliance.commands.context import Refused, refusal
from schedappliance.core import programs
from schedappliance.core.clock_steps import follow_clock
from schedappliance.core.drops import drop_claimed
from schedappliance.core.due import tick
from schedappliance.core.history import prune
from schedappliance.core.lines import line_typed
from schedappliance.core.recovery import Survivor, recover
from schedappliance.core.reload import files_read, reload_requested
from schedappliance.core.state import State
from schedappliance.diagnostics import Diagnostic, Source
from schedappliance.engine.effects import Effect, Log, Reply, Stop
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
        self._failure = ""
        self._stale = False

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
                self._refresh()
                follow_clock(state)
                for event in pending:
                    _HANDLERS[type(event)](state, event)
                _go_on(state)
        except StoreFailed as failure:
            state.restore(before)
            return self._failed(pending, str(failure))
        self._backlog, self._retry_at = [], None
        if self._failure:
            self._failure = ""
            state.log("info", "the store can be written again")
        return self._effects()

    def _refresh(self) -> None:
        """After a failed commit memory is read back before anything is decided on it."""
        if self._stale:
            self.state.read_back()
            self._stale = False

    def wake(self) -> tuple[int | None, int | None]:
        """When the next turn is due, if nothing comes in: wall time, and boot time, in milliseconds."""
        deadlines = [r.deadline for r in self.state.running.values() if r.deadline is not None]
        if not self.state.stopping and (attempt := self.state.queue.wake()) is not None:
            deadlines.append(attempt)
        if self._retry_at is None:
            try:
                due = None if self.state.stopping else self.state.store.jobs.next_due()
                return due, min(deadlines, default=None)
            except StoreFailed:
                self._retry_at = self.state.moment.boot + RETRY_MS
        return None, min([self._retry_at, *deadlines])

    def _effects(self) -> list[Effect]:
        effects, self.state.effects = self.state.effects, []
        self.state.removed.clear()
        return effects

    def _failed(self, events: list[Event], failure: str) -> list[Effect]:
        """What needs no row goes on: answers, signals, stopping. What cannot be told again is kept and tried again."""
        state = self.state
        self._stale = True
        self._retry_at = state.moment.boot + RETRY_MS
        stops = [event for event in events if isinstance(event, StopRequested)]
        self._backlog = [event for event in events if not isinstance(event, LineTyped | StopRequested)]
        effects: list[Effect] = []
        if failure != self._failure:
            self._failure = failure
            effects.append(Log("error", f"degraded: the store cannot be written: {failure}; trying again every second"))
        for event in events:
            if isinstance(event, LineTyped):
                effects += self._answer_alone(event)
        for event in stops:
            programs.stop(state, event.reason)
        programs.send_signals(state)
        if state.stopping and self._all_ended():
            state.log("error", "stopping without the store: what ran is recorded as interrupted at the next start")
            state.effects.append(Stop())
        return effects + self._effects()

    def _answer_alone(self, event: LineTyped) -> list[Effect]:
        """A command in a transaction of its own, without the rest of the turn: those that write nothing are answered."""
        before = self.state.remember()
        try:
            with self.state.store.transaction():
                self._refresh()
                line_typed(self.state, event)
            return self._effects()
        except StoreFailed as failure:
            self.state.restore(before)
            self._stale = True
            help = "nothing was changed; see that its disk has room and is writable"
            source = Source("<command>", event.line)
            said = Diagnostic("E504", f"the store cannot be written: {failure}", help, source)
            return [Reply(event.reply_to, refusal(Refused([said])))]

    def _all_ended(self) -> bool:
        """Whether every running program has ended, though that could not be recorded."""
        ended = {e.key for e in self._backlog if isinstance(e, ProgramEnded | ProgramNotStarted)}
        return self.state.running.keys() <= ended


def _go_on(state: State) -> None:
    """What follows from the time: due jobs, waiting runs, signals."""
    if not state.stopping:
        tick(state)
    if not state.stopping:
        programs.start_queued(state)
    programs.send_signals(state)
    programs.finish_stopping(state)
    prune(state)


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
