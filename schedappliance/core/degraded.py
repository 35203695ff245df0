"""The work of the appliance while its store cannot be written.

Rule: events that need a write wait and are tried again. Work that needs no row continues: signals, stopping, the answers
of commands that write nothing, and the answers to clients whose wait is over. An event that can never be stored fails alone.
"""

# The good path: `Core.turn` commits all events together, and nothing here is called.
#
# What can go wrong, and what then happens. `passing` means that the same write may succeed later. Then the events wait
# in `backlog`, and are tried each second. Lines do not wait: one that only reads is answered, and any other is tried
# alone. If that fails, `sched stop` of a running program is carried out without a row, and any other line is rejected. A
# request to stop does not wait either, nor does what devices have seen (`UNSTORED`). Files with mistakes are told at once
# (`tell_unstored`).
#
#   the disk is full (the failure is `passing` and `full`)
#       The events are tried one by one, small ones first (`by_room`), since there may be room for some of them.
#   another process holds the lock (`passing` and `locked`)
#       The events are tried together. A line that writes is not tried: each try would wait for the lock.
#   the disk has an error or is read-only, or the file is missing (only `passing`)
#       The events are tried together.
#   one event can never be stored (not `passing`)
#       `one_by_one` finds it. `_GIVE_UP` says what becomes of it, and all others are stored.
#
# Example: a drop whose result is too large comes together with 50 ends of programs. The common transaction fails. `one_by_one`
# stores the 50 ends, and `_reject_drop` answers the drop.

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from schedappliance.core import runs
from schedappliance.core.audit import may_write_rows, rejection_line
from schedappliance.core.authorization import rejection_of_stranger
from schedappliance.core.drops import reject_drop
from schedappliance.core.orders import answer_parked, line_typed
from schedappliance.core.reload import reload_failed, tell_unstored
from schedappliance.core.running import Unrecorded
from schedappliance.core.stopping import finish_stopping, send_signals, stop
from schedappliance.core.waits import end_waits
from schedappliance.engine.effects import Effect, LogMessage, Reply, rejection
from schedappliance.engine.events import (
    AuditDue,
    DropClaimed,
    Event,
    FilesRead,
    LineTyped,
    NobodyWatches,
    OutputEmptied,
    OutputFlooded,
    OutputRead,
    OutputUnreadable,
    PreviewMade,
    ProgramEnded,
    ProgramNotStarted,
    ProgramOutput,
    SpoolSeen,
    Started,
    StopRequested,
    WatchChanged,
)
from schedappliance.engine.incidents import OUTPUT_BYTES
from schedappliance.engine.intake import MOST_NAMED, WaitingDrop
from schedappliance.model.commands import is_json, read_command
from schedappliance.store.failures import REMEDY, StoreFailed

if TYPE_CHECKING:
    from schedappliance.core.state import State
    from schedappliance.engine.records import RunKey

RETRY_MS = 1000
# Events that change only memory. They never wait for the store.
UNSTORED = (AuditDue, NobodyWatches, WatchChanged, SpoolSeen, OutputEmptied, OutputFlooded, OutputUnreadable)


@dataclass(frozen=True, slots=True)
class DueWork:
    """The step that does all work that is due. Each other step handles one event."""


DUE_WORK = DueWork()

Step = Event | DueWork
Commit = Callable[[Callable[[], None]], list[Effect]]


class Turns(Protocol):
    """What this module calls of Core, which imports this module."""

    def commit(self, work: Callable[[], None]) -> list[Effect]:
        """Does the work in a transaction and returns the effects. Raises StoreFailed after undoing all of it."""

    def refresh(self) -> None:
        """Reads the mirrors of rows back after a failed commit."""

    def take_step(self, step: Step, stored_before: int, ended: Set[RunKey]) -> None:
        """Handles one event, or does everything that is due. `stored_before`: the number of stored runs before this turn.

        `ended`: the programs that have ended, although the store could not record it.
        """


class Degraded:
    """The events that wait for the store.

    Core calls `one_by_one`, `postpone` and `leave_degraded`. The first two call Core back; see Turns.
    """

    def __init__(self, state: State, turns: Turns) -> None:
        self._state = state
        self._turns = turns
        self.backlog: list[Event] = []
        # The boot instant of the next try; None when all events are stored.
        self.retry_at: int | None = None
        self.is_disk_full = False
        # A full disk can alternate between two failures (no room for a write, an error of a sync): each is logged once.
        self._logged: set[str] = set()

    @property
    def is_starting(self) -> bool:
        """Whether the first turn is not stored yet: nothing else may be decided before it."""
        return bool(self.backlog) and isinstance(self.backlog[0], Started)

    def leave_degraded(self, effects: list[Effect]) -> list[Effect]:
        """Ends the degraded state after everything was stored. Returns the effects, with a log message if needed."""
        self.backlog = []
        self.retry_at = None
        self.is_disk_full = False
        if self._state.status.degraded:
            self._state.status = replace(self._state.status, degraded=None, unstored=(), has_unstored_files=False)
            self._logged.clear()
            return [*effects, LogMessage("info", "the store can be written again")]
        return effects

    def retry_soon(self) -> int:
        """Plans the next try. Returns its boot instant."""
        self.retry_at = self._state.moment.boot + RETRY_MS
        return self.retry_at

    def deadlines(self) -> list[int]:
        """When the next signals are due, in boot milliseconds.

        Programs whose ends are in the backlog are left out.
        """
        ended = _ended_runs(self.backlog)
        others = (program for key, program in self._state.running.items() if key not in ended)
        return [program.deadline for program in others if program.deadline is not None]

    def one_by_one(self, steps: list[Step]) -> list[Effect]:
        """Commits each step separately until the store fails, so that an event that cannot be stored fails alone."""
        effects: list[Effect] = []
        rest: list[Event] = []
        failed: StoreFailed | None = None
        stored_before = self._state.pruning.stored_runs
        for number, step in enumerate(steps):
            try:
                effects += self._alone(step, stored_before, _ended_runs(rest))
            except StoreFailed as failure:
                failed = failure
                if failure.passing or isinstance(step, DueWork | Started):
                    # The other steps would fail too.
                    rest += [event for event in steps[number:] if not isinstance(event, DueWork)]
                    break
                # Only this event cannot be stored, but the store must record it: it is tried again.
                rest.append(step)
        if failed is None:
            # The steps after the due jobs may have ended many runs.
            try:
                effects += self._turns.commit(partial(self._state.prune_history, stored_before))
            except StoreFailed as failure:
                failed = failure
        if failed is None:
            return self.leave_degraded(effects)
        return effects + self.postpone(rest, failed)

    def _alone(self, step: Step, stored_before: int, ended: Set[RunKey]) -> list[Effect]:
        """Commits one step, or gives its event up. Raises StoreFailed if the step must be tried again."""
        try:
            return self._turns.commit(partial(self._turns.take_step, step, stored_before, ended))
        except StoreFailed as failure:
            if failure.full and isinstance(step, ProgramEnded) and step.output:
                # There may be room for the end without its output, which `by_room` has put behind it.
                return self._alone(replace(step, output=b"", output_bytes=0), stored_before, ended)
            if failure.passing or isinstance(step, DueWork):
                raise
            return self._give_up(step, failure)

    def _give_up(self, event: Event, failure: StoreFailed) -> list[Effect]:
        """Handles an event that can never be stored. Raises the failure for an event that the store must record."""
        if isinstance(event, LineTyped) and not may_write_rows(event.line):
            return self._answer(event, failure)
        give_up = _GIVE_UP.get(type(event))
        if give_up is None:
            raise failure
        line = LogMessage("error", f"{_what(self._state, event)} cannot be stored: {failure}; {REMEDY}")
        return [line, *give_up(self._state, self._turns.commit, event, failure)]

    def postpone(self, events: list[Event], failure: StoreFailed) -> list[Effect]:
        """Keeps the events for the next try, and does the work that needs no row."""
        effects = self._keep(events, failure)
        for event in events:
            effects += self._answer_now(event, failure)
        self._continue_without_rows([event for event in events if isinstance(event, StopRequested)])
        return effects + self._state.settle()

    def _keep(self, events: list[Event], failure: StoreFailed) -> list[Effect]:
        """Keeps the events that need a write, and shows and logs why they wait."""
        self.is_disk_full = failure.full
        self.retry_soon()
        waiting = [
            event
            for event in events
            if not isinstance(event, (*UNSTORED, LineTyped, OutputRead, PreviewMade, StopRequested))
        ]
        attempted = self._state.attempted_digest
        judged = [
            tell_unstored(self._state, event) if isinstance(event, FilesRead) else event
            for event in without_unchanged_files(waiting, attempted)
        ]
        # Files may be unchanged only now, since later files replace those between.
        self.backlog = without_unchanged_files(without_earlier_files(judged), attempted)
        why = f"the store cannot be written: {failure}"
        drops = [event for event in self.backlog if isinstance(event, DropClaimed)][:MOST_NAMED]
        unstored = tuple(
            WaitingDrop(drop.name, "waits until the store can be written", drop.arrived_ms) for drop in drops
        )
        has_files = any(isinstance(event, FilesRead) and not event.is_told for event in self.backlog)
        self._state.status = replace(self._state.status, degraded=why, unstored=unstored, has_unstored_files=has_files)
        if why in self._logged:
            return []
        self._logged.add(why)
        return [LogMessage("error", f"degraded: {why}; trying again every second")]

    def _answer_now(self, event: Event, failure: StoreFailed) -> list[Effect]:
        """Answers a client at once, so that it does not wait for the store."""
        match event:
            case LineTyped():
                return self._answer(event, failure)
            case OutputRead():
                return self._show_output(event)
            case PreviewMade():
                # This answer needs no row.
                return self._read(partial(answer_parked, self._state, event))
        return self._note(event) if isinstance(event, UNSTORED) else []

    def _note(self, event: Event) -> list[Effect]:
        """Notes what a device has seen. What it needs of the store, the next audit does."""
        try:
            return self._read(partial(self._turns.take_step, event, 0, frozenset()))
        except StoreFailed:
            return []

    def _continue_without_rows(self, stops: list[StopRequested]) -> None:
        """Sends signals, ends waits and stops the appliance, although the store cannot record it."""
        state = self._state
        ended = _ended_runs(self.backlog)
        for request in stops:
            stop(state, request.reason, ended, request.on_stop and state.configuration.on_stop == "keep")
        send_signals(state, ended)
        end_waits(state)
        if finish_stopping(state, ended):
            text = "stopping without the store: the next start records how its runs ended"
            # Before the effect Stop, which is the last one.
            state.effects.insert(-1, LogMessage("error", text))

    def _answer(self, event: LineTyped, failure: StoreFailed) -> list[Effect]:
        """Answers a command that writes nothing, and tries any other command alone.

        While another process holds a lock, a command that writes is rejected at once: each try would wait for the lock.
        Before the first turn is stored, it is rejected too.
        """
        writes = may_write_rows(event.line)
        if self.is_starting and writes:
            return _reject_unstored(self._state, event, failure)
        try:
            if writes and failure.locked:
                raise failure
            if writes:
                return self._turns.commit(lambda: line_typed(self._state, event))
            return self._read(partial(line_typed, self._state, event))
        except StoreFailed as again:
            if writes and (stopped := self._stop_program(event, again)) is not None:
                return stopped
            return _reject_unstored(self._state, event, again, "written" if writes else "read")

    def _stop_program(self, event: LineTyped, failure: StoreFailed) -> list[Effect] | None:
        """Carries out `sched stop` of a running program: it may be the one that fills the disk. The row waits for the store.

        None for anything else.
        """
        command = read_command(event.line.strip(" \t")).command
        if command is None or command.bare.form != "sched_stop":
            return None
        self._state.unrecorded = Unrecorded(failure, _ended_runs(self.backlog), [])
        try:
            effects = self._read(partial(line_typed, self._state, event))
            self.backlog += self._state.unrecorded.stops
        except StoreFailed:
            return None
        finally:
            self._state.unrecorded = None
        return effects

    def _show_output(self, event: OutputRead) -> list[Effect]:
        """Answers a command that has waited for an output."""
        order = self._state.parked[event.reply_to].order
        try:
            return self._read(partial(answer_parked, self._state, event))
        except StoreFailed as failure:
            del self._state.parked[event.reply_to]
            assert order.reply_to is not None
            line = LineTyped(order.text, order.user, order.reply_to, order.connection or 0)
            return _reject_unstored(self._state, line, failure, "read")

    def _read(self, answer: Callable[[], None]) -> list[Effect]:
        """Answers a command that writes nothing. If no row can be read either, commands that need none are still answered.

        Raises StoreFailed after undoing all of it.
        """
        before = self._state.remember()
        # If this fails, memory stays older than the rows, and the next turn refreshes it.
        with suppress(StoreFailed):
            self._turns.refresh()
        try:
            answer()
        except StoreFailed:
            self._state.restore(before)
            raise
        return self._state.settle()


def _what(state: State, event: Event) -> str:
    """What an event tells, for the log."""
    match event:
        case LineTyped():
            return f"a command of user {event.user.uid}"
        case DropClaimed():
            return f"the drop {event.name}"
        case ProgramOutput() | ProgramEnded():
            return f"the output of run {state.named(event.key.run)}"
        case FilesRead():
            return "the configuration"
    return "an event"


def without_earlier_files(events: Iterable[Event]) -> list[Event]:
    """The events without files that later ones replace, so that a long wait keeps two readings at most.

    Files that can be accepted replace all before them, and rejected ones those that were rejected.
    """
    latest: list[Event] = []
    has_later = has_good = False
    for event in reversed(list(events)):
        if isinstance(event, FilesRead) and event.reply_to is None:
            if has_good or (has_later and event.is_told):
                continue
            has_later, has_good = True, not event.is_told
        latest.append(event)
    return latest[::-1]


def without_unchanged_files(events: Iterable[Event], attempted: str) -> list[Event]:
    """The events without files that equal those of the last attempt, unless a client asked for the reload: they change nothing.

    `attempted`: the digest of the attempt before the first event.
    """
    changed: list[Event] = []
    for event in events:
        if isinstance(event, FilesRead) and event.reply_to is None and not event.is_told and event.digest == attempted:
            continue
        if isinstance(event, FilesRead | Started):
            attempted = event.digest
        changed.append(event)
    return changed


def _ended_runs(events: Iterable[Event]) -> set[RunKey]:
    """The runs whose programs have ended, although the store could not record it."""
    return {event.key.run for event in events if isinstance(event, ProgramEnded | ProgramNotStarted)}


def _reject_unstored(state: State, event: LineTyped, failure: StoreFailed, cannot_be: str = "written") -> list[Effect]:
    """The answer and the audit line for a command that cannot be stored, or that needs a row that cannot be read.

    A user without a role gets the usual rejection, which says nothing about the store.
    """
    line = event.line.strip(" \t")
    answer = None
    if state.users.last_answer(event.user.uid) is not None:
        answer = rejection_of_stranger(state, event.user, line)
    answer = (answer or rejection([failure.of_command(event.line, cannot_be)]))._replace(is_json=is_json(line))
    assert answer.error is not None
    reply = Reply(event.reply_to, answer, event.connection in state.transactions)
    return [rejection_line(state, event.user, "console", line, answer.error), reply]


def by_room(events: list[Event]) -> list[Step]:
    """Sorts events by the room that they need: small events, the due work, lines, outputs from small to large, drops.

    The output of a program is also an event of its own, so that the end is stored even without room for the output.
    Otherwise the program would still count as running, and its job could not run again. The end has the last part of the
    output, if there is room for that: alerts and `on_failure` tell it.
    """
    small: list[Step] = []
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
            small.append(replace(event, output=event.output[-OUTPUT_BYTES:]))
            outputs.append(ProgramOutput(event.key, event.output, event.output_bytes))
        else:
            small.append(event)
    outputs.sort(key=lambda event: len(event.output))
    return [*small, DUE_WORK, *lines, *outputs, *drops]


def _reject_line(state: State, _commit: Commit, event: LineTyped, failure: StoreFailed) -> list[Effect]:
    return _reject_unstored(state, event, failure)


def _discard_output(_state: State, _commit: Commit, _event: ProgramOutput, _failure: StoreFailed) -> list[Effect]:
    return []


def _store_end_alone(state: State, commit: Commit, event: ProgramEnded, failure: StoreFailed) -> list[Effect]:
    """Stores the end of a program without its output. Raises the failure if there is no output to leave out."""
    if not event.output:
        raise failure
    return commit(partial(runs.program_ended, state, replace(event, output=b"")))


def _reject_drop(state: State, commit: Commit, event: DropClaimed, failure: StoreFailed) -> list[Effect]:
    return commit(partial(reject_drop, state, event, str(failure)))


def _reject_files(state: State, commit: Commit, event: FilesRead, failure: StoreFailed) -> list[Effect]:
    return commit(partial(reload_failed, state, event, str(failure)))


# What is done with an event that can never be stored. The store must record every other event.
_GIVE_UP: dict[type, Callable[[State, Commit, Any, StoreFailed], list[Effect]]] = {
    LineTyped: _reject_line,
    ProgramOutput: _discard_output,
    ProgramEnded: _store_end_alone,
    DropClaimed: _reject_drop,
    FilesRead: _reject_files,
}
