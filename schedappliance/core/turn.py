"""The deciding thread's body. Law: a turn is one transaction; its effects are handed out only after the commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import replace
from functools import partial
from typing import Any

from schedappliance.clock import Moment
from schedappliance.core import programs
from schedappliance.core.audit import changes_something, refusal_line
from schedappliance.core.authorization import stranger
from schedappliance.core.clock import follow_clock, has_stepped, remember_tick
from schedappliance.core.drops import drop_claimed, drop_put_back, reject_drop, spool_seen
from schedappliance.core.due import tick
from schedappliance.core.history import next_prune, prune
from schedappliance.core.lines import connection_closed, line_typed
from schedappliance.core.recovery import Found, recover
from schedappliance.core.reload import files_read, reload_failed, reload_requested, watch_changed
from schedappliance.core.results import next_results_prune, prune_results
from schedappliance.core.state import State
from schedappliance.diagnostics import Diagnostic, Source
from schedappliance.engine.effects import Effect, Log, Reply, Stop, rejection
from schedappliance.engine.events import (
    ConnectionClosed,
    DropClaimed,
    DropPutBack,
    Event,
    FilesRead,
    LineTyped,
    ProgramEnded,
    ProgramNotStarted,
    ProgramOutput,
    ProgramStarted,
    ReloadRequested,
    SpoolSeen,
    StopRequested,
    UsersLookedUp,
    WatchChanged,
)
from schedappliance.engine.records import RunKey
from schedappliance.model.commands import is_json
from schedappliance.store.failures import StoreFailed

RETRY_MS = 1000


class Core:
    """Takes events and the time, returns effects. Same store, same events, same times: same rows, same effects."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._backlog: list[Event] = []
        self._retry_at: int | None = None
        self._full = False
        self._stale = False
        # What `wake` returned after the last turn; None before it is asked.
        self._wake: tuple[int | None, int | None] | None = None
        # A full disk can fail in two ways in turn (a write has no room, a sync has an error): each is logged once.
        self._logged: set[str] = set()

    def start(self, found: Found, digest: str, texts: tuple[tuple[str, str], ...]) -> list[Effect]:
        """The turn before the first tick; raises StoreFailed."""
        with self.state.store.transaction():
            recover(self.state, found, digest, texts)
        return self._effects()

    def turn(self, events: Iterable[Event], moment: Moment) -> list[Effect]:
        """Handles the events, then what is due, in one transaction. A failed commit undoes all of it, visibly."""
        state = self.state
        state.moment = moment
        arrived = list(events)
        if not self._needs_transaction(arrived):
            for event in arrived:
                _HANDLERS[type(event)](state, event)
            return self._effects()
        self._wake = None
        pending = [*self._backlog, *self._known(arrived)]
        if self._full:
            # All together it would be tried twice: what does not fit is large, or the disk has no room at all.
            return self._one_by_one(_by_room(pending))
        before = state.remember()
        try:
            with state.store.transaction():
                self._begin()
                kept = state.kept_runs
                for event in pending:
                    _HANDLERS[type(event)](state, event)
                _go_on(state, kept)
        except StoreFailed as failure:
            state.restore(before)
            self._stale = True
            if not failure.passing:
                return self._one_by_one([*pending, None])
            return self._failed(pending, failure)
        return self._succeeded()

    def _needs_transaction(self, events: list[Event]) -> bool:
        """False when nothing that arrived is stored and nothing is due: then a locked store is nobody's trouble.

        What is due can change in a turn only, so the answer of `wake` after the last turn still holds.
        """
        if self._backlog or self._wake is None or not all(isinstance(event, _UNSTORED) for event in events):
            return True
        moment, (wall, boot) = self.state.moment, self._wake
        is_due = (wall is not None and wall <= moment.wall) or (boot is not None and boot <= moment.boot)
        return is_due or has_stepped(self.state)

    def _known(self, events: Iterable[Event]) -> Iterator[Event]:
        """In place of an answer about users come the events that waited for it. It is never undone."""
        state = self.state
        for event in events:
            if isinstance(event, UsersLookedUp):
                yield from state.users.learn(event, state.moment.boot)
                for known in event.known:
                    state.queue.user_is_known(known.uid)
            else:
                yield event

    def _begin(self) -> None:
        """Before anything is decided: memory agrees with the store, the jobs with the clock."""
        follow_clock(self.state)
        self._refresh()
        if self.state.status.degraded:
            # Only a write shows whether the store can be written.
            remember_tick(self.state)
        # A run that waited for its next attempt was claimed before what is claimed now.
        self.state.queue.awake(self.state.moment.boot)

    def _refresh(self) -> None:
        """After a failed commit memory is read back before anything is decided on it."""
        if self._stale:
            self.state.read_back()
            self._stale = False

    def wake(self) -> tuple[int | None, int | None]:
        """When the next turn is due, if nothing comes in: wall time, and boot time, in milliseconds."""
        self._wake = self._next_turn()
        return self._wake

    def _next_turn(self) -> tuple[int | None, int | None]:
        deadlines = self._deadlines()
        # While nothing can be written, no attempt can begin.
        waits = self.state.stopping or self._retry_at is not None
        if not waits and (attempt := self.state.queue.wake()) is not None:
            deadlines.append(attempt)
        if not waits and self.state.is_short and self.state.queue.ready:
            deadlines.append(self.state.short_until)
        if self._retry_at is None:
            if not self.state.stopping:
                prunes = (next_prune(self.state), next_results_prune(self.state))
                deadlines += [pruning for pruning in prunes if pruning is not None]
            try:
                due = None if self.state.stopping else self.state.store.jobs.next_due(self.state.users.held_jobs())
                return due, min(deadlines, default=None)
            except StoreFailed:
                self._retry_at = self.state.moment.boot + RETRY_MS
        return None, min([self._retry_at, *deadlines])

    def _deadlines(self) -> list[int]:
        """When the next signals are due. That a program has ended may still have to be recorded."""
        running = self.state.running
        if ended := self._ended():
            others = (program for key, program in running.items() if key not in ended)
            return [program.deadline for program in others if program.deadline is not None]
        first = running.next_deadline()
        return [] if first is None else [first]

    def _succeeded(self) -> list[Effect]:
        self._backlog, self._retry_at, self._full = [], None, False
        if self.state.status.degraded:
            self.state.status = replace(self.state.status, degraded=None)
            self._logged.clear()
            self.state.log("info", "the store can be written again")
        return self._effects()

    def _effects(self) -> list[Effect]:
        return self.state.settle()

    def _one_by_one(self, steps: list[Event | None]) -> list[Effect]:
        """Each event, and what is due (None), by itself, until the store fails: what cannot be stored fails alone."""
        effects: list[Effect] = []
        left: list[Event] = []
        failed: StoreFailed | None = None
        kept = self.state.kept_runs
        for number, step in enumerate(steps):
            try:
                effects += self._step(step, kept, left)
            except StoreFailed as failure:
                failed = failure
                if failure.passing or step is None:
                    left += [event for event in steps[number:] if event is not None]
                    break
                left.append(step)
        if failed is None:
            # What came after the due jobs may have ended many runs.
            try:
                effects += self._alone(partial(prune, self.state, kept))
            except StoreFailed as failure:
                failed = failure
        return effects + (self._failed(left, failed) if failed else self._succeeded())

    def _step(self, step: Event | None, kept: int, left: list[Event]) -> list[Effect]:
        try:
            return self._alone(partial(_carry_out, self.state, step, kept, _ends(left)))
        except StoreFailed as failure:
            if failure.passing or step is None:
                raise
            return self._give_up(step, failure)

    def _alone(self, step: Callable[[], None]) -> list[Effect]:
        """A part of a turn in a transaction of its own."""
        before = self.state.remember()
        try:
            with self.state.store.transaction():
                self._begin()
                step()
            return self._effects()
        except StoreFailed:
            self.state.restore(before)
            self._stale = True
            raise

    def _give_up(self, event: Event, failure: StoreFailed) -> list[Effect]:
        """What can never be stored is refused, or goes without what may not fit; raises when it must be known."""
        said = Log("error", f"{type(event).__name__} cannot be stored: {failure}")
        if isinstance(event, LineTyped):
            return [said, *_refused(self.state, event, failure)]
        if isinstance(event, ProgramOutput):
            return [said]
        if isinstance(event, ProgramEnded) and event.output:
            without = replace(event, output=b"")
            return [said, *self._alone(lambda: programs.program_ended(self.state, without))]
        if isinstance(event, DropClaimed):
            return [said, *self._alone(lambda: reject_drop(self.state, event, str(failure)))]
        if isinstance(event, FilesRead):
            return [said, *self._alone(lambda: reload_failed(self.state, event, str(failure)))]
        raise failure

    def _failed(self, events: list[Event], failure: StoreFailed) -> list[Effect]:
        """What needs no row goes on: signals, stopping, answers of commands that write nothing. The rest is kept."""
        state = self.state
        self._retry_at, self._full = state.moment.boot + RETRY_MS, failure.full
        stops = [event for event in events if isinstance(event, StopRequested)]
        self._backlog = [event for event in events if not isinstance(event, LineTyped | StopRequested)]
        effects: list[Effect] = []
        why = f"the store cannot be written: {failure}"
        state.status = replace(state.status, degraded=why)
        if why not in self._logged:
            self._logged.add(why)
            effects.append(Log("error", f"degraded: {why}; trying again every second"))
        for event in events:
            if isinstance(event, LineTyped):
                effects += self._answer_alone(event, failure)
        ended = self._ended()
        for event in stops:
            programs.stop(state, event.reason, ended)
        programs.send_signals(state, ended)
        if state.stopping and not state.stopped and state.running.keys() <= ended:
            state.stopped = True
            programs.dismiss(state)
            state.log("error", "stopping without the store: what ran is recorded as interrupted at the next start")
            state.effects.append(Stop())
        return effects + self._effects()

    def _answer_alone(self, event: LineTyped, failure: StoreFailed) -> list[Effect]:
        """A command by itself: one that writes nothing is answered; behind a lock the others are not even tried."""
        writes = changes_something(event.line)
        if failure.locked and writes:
            return _refused(self.state, event, failure)
        try:
            if writes or self._stale_reads():
                return self._alone(lambda: line_typed(self.state, event))
            line_typed(self.state, event)
            return self._effects()
        except StoreFailed as again:
            return _refused(self.state, event, again)

    def _stale_reads(self) -> bool:
        """Brings memory up to date by reading alone; true when even that fails."""
        try:
            self._refresh()
        except StoreFailed:
            return True
        return False

    def _ended(self) -> set[RunKey]:
        """The programs that have ended, though that could not be recorded."""
        return _ends(self._backlog)


def _ends(events: Iterable[Event]) -> set[RunKey]:
    return {event.key.run for event in events if isinstance(event, ProgramEnded | ProgramNotStarted)}


def _refused(state: State, event: LineTyped, failure: StoreFailed) -> list[Effect]:
    """The answer, and the audit line of whatever was refused. Of the store too a user without a role is told nothing."""
    help = "nothing was changed; see that its disk has room and is writable"
    if failure.locked:
        help = "nothing was changed; another process is writing to it: `fuser` tells which"
    source = Source.of_command(event.line)
    said = Diagnostic("E504", f"the store cannot be written: {failure}", help, source)
    line, answer = event.line.strip(" \t"), None
    if state.users.last(event.user.uid) is not None:
        answer = stranger(state, event.user, line)
    answer = (answer or rejection([said]))._replace(is_json=is_json(line))
    assert answer.error is not None
    reply = Reply(event.reply_to, answer, event.connection in state.transactions)
    return [refusal_line(state, event.user, "console", line, answer.error), reply]


def _by_room(events: list[Event]) -> list[Event | None]:
    """What needs least room first: small events, what is due (None), lines, outputs of programs, drops in their order.

    A program's end does not wait for room for its output: its job may be due again.
    """
    small: list[Event | None] = []
    lines: list[LineTyped] = []
    outputs: list[ProgramOutput] = []
    drops: list[DropClaimed] = []
    for event in events:
        if isinstance(event, DropClaimed):
            drops.append(event)
        elif isinstance(event, LineTyped):
            lines.append(event)
        elif isinstance(event, ProgramOutput):
            outputs.append(event)
        elif isinstance(event, ProgramEnded) and event.output_bytes:
            small.append(replace(event, output=b"", output_bytes=0))
            outputs.append(ProgramOutput(event.key, event.output, event.output_bytes))
        else:
            small.append(event)
    outputs.sort(key=lambda event: len(event.output))
    return [*small, None, *lines, *outputs, *drops]


def _carry_out(state: State, step: Event | None, kept_before: int, ended: Set[RunKey]) -> None:
    if step is None:
        _go_on(state, kept_before, ended)
    else:
        _HANDLERS[type(step)](state, step)


def _go_on(state: State, kept_before: int, ended: Set[RunKey] = frozenset()) -> None:
    """What follows from the time: due jobs, waiting runs, signals, but to the programs in `ended`.

    `kept_before`: the runs kept before this turn.
    """
    # Again: what an event of this turn put off for no time at all begins in this turn.
    state.queue.awake(state.moment.boot)
    if not state.stopping:
        tick(state)
    if not state.stopping:
        programs.start_queued(state)
    programs.send_signals(state, ended)
    programs.finish_stopping(state)
    prune(state, kept_before)
    prune_results(state)


def _drop(state: State, event: DropClaimed) -> None:
    """While the appliance stops, a claimed file stays in work/; the next start takes it up again."""
    if not state.stopping:
        drop_claimed(state, event)


# Events that change nothing but memory.
_UNSTORED = (WatchChanged, SpoolSeen)

_HANDLERS: dict[type, Callable[[State, Any], None]] = {
    LineTyped: line_typed,
    ConnectionClosed: connection_closed,
    DropClaimed: _drop,
    DropPutBack: drop_put_back,
    SpoolSeen: spool_seen,
    ProgramStarted: programs.program_started,
    ProgramNotStarted: programs.program_not_started,
    ProgramEnded: programs.program_ended,
    ProgramOutput: programs.output_kept,
    FilesRead: files_read,
    WatchChanged: watch_changed,
    ReloadRequested: reload_requested,
    StopRequested: lambda state, event: programs.stop(state, event.reason),
}
