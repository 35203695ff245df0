"""A simulated machine with one appliance: its clock, spool, file and programs, and how the daemon starts and ends."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from schedappliance.clock import ManualClock, Moment
from schedappliance.core.turn import LEAD_MS
from schedappliance.engine.boots import BOOT_TOLERANCE_MS, UNKNOWN_BOOT
from schedappliance.engine.clockstep import DRIFT, NEARLY_MS
from schedappliance.engine.effects import (
    Effect,
    FilesAccepted,
    LogMessage,
    PublishResult,
    PutOff,
    ReadFiles,
    Reply,
    SignalProgram,
    StartProgram,
    Stop,
)
from schedappliance.engine.events import (
    Event,
    FilesRead,
    LineTyped,
    OutputsChecked,
    ProgramEnded,
    ProgramNotStarted,
    Remains,
)
from schedappliance.engine.options import Options, with_overrides
from schedappliance.engine.records import AttemptKey
from schedappliance.model.configuration import Configuration
from schedappliance.preview.driver import Agenda, milliseconds_to_wake
from schedappliance.store.failures import StoreFailed
from tests.simulation.checker import Broken, Checker, hold
from tests.simulation.dice import DAY, HOUR, Dice
from tests.simulation.faults import Crash, FaultyAppliance
from tests.simulation.journal import AttemptRow, Change, DropRow, OverrideRow, drain
from tests.simulation.processes import Processes
from tests.simulation.promises import may_wait
from tests.simulation.view import View
from tests.simulation.zones import SimulatedZones
from tests.support.core import SECOND, agrees_with_its_store, judged, with_store

# Reports an event: the time, then words and objects.
Say = Callable[..., None]
# So many turns without time between them, or without a commit, mean that the loop spins.
SPIN = 100
# Memory is compared with the store after this many turns.
LOOK = 20
# All rows are compared with what was committed after this many starts.
LOOK_AT_ALL = 4

# The digests of files. They depend on the path of the store.
_OF_THE_PLACE = re.compile(r"\b[0-9a-f]{12,64}\b")


class Machine:
    """`elapsed`: milliseconds since the start of the history, whatever the clocks say. Planned items are events, which
    are lost when the daemon ends, or things that happen outside of the daemon."""

    def __init__(self, dice: Dice, directory: Path, text: str, say: Say, has_calendars: bool = False) -> None:
        self.dice, self.text = dice, text
        self._say: Say = lambda *what: say(self.elapsed, *what)
        self.elapsed = 0
        self.agenda: Agenda[Event | Callable[[], None]] = Agenda()
        self.checker = Checker()
        self.processes = Processes(dice, lambda: self.elapsed, self.after, self.post, self.checker.begin)
        self.work: dict[str, tuple[list[str], int]] = {}
        self.digest = hashlib.sha256()
        self.up, self._is_starting, self._accepted = True, False, text
        self._asked: dict[int, str] = {}
        self._delivered: set[AttemptKey] = set()
        self._read: list[Configuration] = []
        self._boots = 1
        # Whether the clocks show what boot this is, if its id is hidden.
        self._clock_is_right = True
        # What the last check said, until it is stored.
        self._outputs_fail: bool | None = None
        self._set_back = self._settled_at = 0
        self._spins = self._unsettled = 0
        self._turns = 0
        self._was_held = False
        self.zones = SimulatedZones(directory / "zones") if has_calendars else None
        self.appliance = FaultyAppliance(directory / "sched.db", text, dice, self.zones)
        self.appliance.recognize = self._recognize
        # The boots for which the appliance has used each name.
        self._boots_of = {self.appliance.state.boot.name: {1}}
        self._has_started()

    # Time

    def after(self, milliseconds: int, happens: Callable[[], None]) -> None:
        self.agenda.add(self.elapsed + milliseconds, happens)

    def post(self, milliseconds: int, event: Event) -> None:
        """Posts an event to the daemon's inbox after a delay."""
        self.agenda.add(self.elapsed + milliseconds, event)

    def advance(self, milliseconds: int) -> None:
        self.appliance.clock.advance(milliseconds)
        self.elapsed += milliseconds

    def live(self, until: int) -> None:
        """Runs from wake to wake until that time."""
        while self.elapsed < until and not self.is_over():
            at = self._next()
            if at is None or at > until:
                self.advance(until - self.elapsed)
            else:
                self._wake(at)

    def is_over(self) -> bool:
        return False

    def _next(self) -> int | None:
        """The time of the next planned item or wake of the daemon."""
        times = [self.agenda.next(), self._daemon_wakes() if self.up else None]
        return min((at for at in times if at is not None), default=None)

    def _daemon_wakes(self) -> int | None:
        core = self.appliance.core
        wait = milliseconds_to_wake(core, self.appliance.clock.moment())
        at = None if wait is None else self.elapsed + wait
        if core.is_settled and not core.state.stopping:
            self.checker.wake(self.view([core.state.configuration]), at)
        return at

    def _wake(self, at: int) -> None:
        if self.up and self.dice.happens("late"):
            at = max(at, self.elapsed) + self.dice.time(1, 30 * SECOND)
        elif self.up and self._looks_ahead(at):
            return
        self._spins = 0 if at > self.elapsed else self._spins + 1
        hold("it_does_not_spin", self._spins > SPIN, f"{SPIN} turns without time")
        self.advance(max(0, at - self.elapsed))
        events: list[Event] = []
        for item in self.agenda.take(self.elapsed):
            if callable(item):
                item()
                if not self.up:
                    events.clear()
            elif self.up:
                events.append(item)
        if self.up:
            self._turn(events)

    # The daemon

    def _looks_ahead(self, at: int) -> bool:
        """Sometimes lets the daemon decide a little earlier what is due at this time. Returns False if it was in vain.

        Faults happen to a look-ahead that comes to its end as they would happen to the turn in its place.
        """
        begin, planned, is_calm = at - LEAD_MS, self.agenda.next(), self.dice.calm
        self.dice.calm = True
        (wall, boot), now = self.appliance.core.wake(), self.appliance.clock.moment()
        self.dice.calm = is_calm
        is_due = wall is not None and wall - now.wall == at - self.elapsed and not self.appliance.state.status.hold
        is_alone = is_due and (boot is None or boot - now.boot > at - self.elapsed)
        if not is_alone or begin <= self.elapsed or (planned is not None and planned <= begin):
            return False
        if not self.dice.happens("looked ahead"):
            return False
        comes = (planned is None or planned > at) and not self.dice.happens("look-ahead abandoned")
        until = at if comes else begin + self.dice.part_of(LEAD_MS)
        self.advance(begin - self.elapsed)

        def sleep_until(_wall_ms: int) -> tuple[Moment, Moment]:
            before = self.appliance.clock.moment()
            self.advance(until - self.elapsed)
            return before, self.appliance.clock.moment()

        self.dice.calm, self.appliance.database.calm = True, is_calm or not comes
        self._turn([], lambda: self.appliance.core.look_ahead(self.appliance.clock.moment(), sleep_until))
        self.dice.calm, self.appliance.database.calm = is_calm, None
        if self.up and not comes:
            self.look()
        return not self.up or self.appliance.core._wake is None

    def _turn(self, events: list[Event], decide: Callable[[], list[Effect]] | None = None) -> None:
        """`decide`: takes the place of a turn."""
        before = self.appliance.state.options
        for event in events:
            self._say("event", event)
            if isinstance(event, LineTyped):
                self._asked[event.reply_to] = event.line
            elif isinstance(event, FilesRead) and event.configuration:
                self._read.append(event.configuration)
            elif isinstance(event, ProgramEnded | ProgramNotStarted):
                self._delivered.add(event.key)
        checks = [event.problem is not None for event in events if isinstance(event, OutputsChecked)]
        if checks:
            self._outputs_fail = checks[-1]
        if self._outputs_fail:
            # A run that this turn claims may wait for the outputs.
            self.checker.past.short_until = max(self.checker.past.short_until, self.elapsed)
        if checks and not checks[-1]:
            self.checker.past.outputs_fail = False
        lines = [event.line for event in events if isinstance(event, LineTyped)]
        begun = self.appliance.database.begun
        try:
            effects = decide() if decide else self.appliance.turn(*events)
        except Crash as crash:
            self._committed(before, lines)
            return self.crash(str(crash))
        except Broken:
            raise
        except Exception as error:
            raise Broken("nothing_is_raised", repr(error)) from error
        begins = self._is_starting and not self.appliance.core._degraded.is_starting
        if begins:
            self._is_starting = False
            self.checker.start()
            self._has_booted = False
        idle = self.appliance.core._wake is not None
        in_parts = self.appliance.database.begun > begun + 1
        view = self._committed(before, lines, not begins, self.appliance.core.is_settled, idle, in_parts)
        self._unsettled = 0 if view.settled or self.appliance.full else self._unsettled + 1
        hold(
            "it_recovers",
            self._unsettled > SPIN and not self.appliance.state.stopping,
            f"{self._unsettled} turns failed",
        )
        if view.settled:
            self._has_settled()
        self._perform(view, effects)
        if begins:
            self._claim_again()
        if self._outputs_fail is not None and self.up and view.settled:
            # Only from now on: a line may have come before the check in the same turn.
            self.checker.past.outputs_fail, self._outputs_fail = self._outputs_fail, None
        return None

    def _committed(
        self,
        before: Options,
        lines: Sequence[str] = (),
        turned: bool = False,
        settled: bool = False,
        idle: bool = False,
        in_parts: bool = False,
    ) -> View:
        """Checks the invariants of what has just been committed."""
        changes = drain(self.appliance.database._connection)
        view = self.view(self._policies(before, changes))
        view.changes = changes
        view.asked, view.turned, view.settled = lines, turned, settled and not self.appliance.state.stopping
        view.idle, view.in_parts, view.was_held = idle, in_parts, view.is_held and self._was_held
        self._was_held = view.is_held
        for change in view.changes:
            if isinstance(change.new, DropRow):
                view.asked = [*view.asked, *self.work[change.new.mark][0]]
            self._say("  row", change.old, "->", change.new)
        self.checker.step(view)
        return view

    def _policies(self, before: Options, changes: Sequence[Change]) -> list[Configuration]:
        """All policies that were active in a step: of every file that was read, with every override that was set."""
        after = self.appliance.state.options
        set_ones = [list(self.checker.rows.overrides.values())]
        for old, new in changes:
            for row in (old, new):
                if isinstance(row, OverrideRow) and row.scope:
                    others = [other for other in set_ones[-1] if other.place != row.place]
                    set_ones.append(others if new is None else [*others, row])
        files = [before.files, *self._read, after.files]
        if before is after and len(set_ones) == 1:
            return [after.configuration]
        between = [
            with_overrides(one, [row.override for row in rows]).configuration for one in files for rows in set_ones
        ]
        return [before.configuration, *between, after.configuration]

    def view(self, policies: Sequence[Configuration]) -> View:
        """The view of this step."""
        state = self.appliance.state
        return View(
            rows=self.checker.rows,
            past=self.checker.past,
            processes=self.processes.present,
            untold=self.processes.untold,
            policies=policies,
            moment=self.appliance.clock.moment(),
            elapsed=self.elapsed,
            places=state.places,
            started_wall=state.status.started.wall,
            schedules=state.schedules,
            is_held=state.status.hold is not None,
            hold_ends=state.status.hold.ends_ms if state.status.hold else None,
        )

    def _has_settled(self) -> None:
        for name in self._delivered:
            self.processes.untold.pop(name, None)
        self._delivered.clear()
        self._read.clear()
        self._set_back, self._settled_at, self._clock_is_right = 0, self.elapsed, True
        self.checker.past.was_set_forward = False
        self._turns += 1
        if self._turns % LOOK == 0:
            self.look()

    def look(self) -> None:
        """Compares memory with the store."""
        calm, self.dice.calm = self.dice.calm, True
        try:
            agrees_with_its_store(self.appliance)
        except AssertionError as error:
            raise Broken("memory_agrees_with_the_store", str(error)) from error
        self.dice.calm = calm

    def _perform(self, view: View, effects: list[Effect]) -> None:
        for effect in effects:
            if self.dice.happens("crash before effect"):
                return self.crash("before an effect")
            if isinstance(effect, PublishResult) and self.dice.happens("crash before result"):
                return self.crash("before a result")
            self.perform(view, effect)
            if self.up and self.dice.happens("crash after effect"):
                return self.crash("after an effect")
            if not self.up:
                return None
        unanswered = [line for line in self._asked.values() if not may_wait(view, line)]
        hold("every_line_is_answered", bool(unanswered), f"{unanswered}")
        # Before its first turn is stored, the daemon does not know its programs.
        return None if self._is_starting else self.checker.world(view)

    def perform(self, view: View, effect: Effect) -> None:
        self._say("  effect", effect)
        match effect:
            case StartProgram():
                self._start_program(view, effect)
            case SignalProgram():
                self.processes.signal(effect)
            case ReadFiles(reply_to, typed):
                self.post(self.dice.time(1, SECOND), self.appliance.read_prepared(self.text, reply_to, typed))
            case Reply():
                self._answered(view, effect)
                return
            case PutOff(event):
                self.post(0, event)
            case PublishResult(mark):
                self.checker.drop(view, self.work[mark][0], effect)
                del self.work[mark]
            case Stop():
                self._down("stopped")
        # The texts contain the path of the store, which differs in each run.
        if not isinstance(effect, LogMessage | FilesAccepted):
            self.digest.update(f"{self.elapsed} {effect}\n".encode())

    def _start_program(self, view: View, effect: StartProgram) -> None:
        self.checker.order(view, effect)
        # An attempt that was not started has the key of the next one, and its report may have come in an undone turn.
        self._delivered.discard(effect.key)
        attempt = view.rows.started[effect.key]
        success = {status for program in view.programs(attempt.program) if program for status in program.success}
        self.processes.start(effect, self._term_at(view, attempt), tuple(success))

    def _term_at(self, view: View, attempt: AttemptRow) -> int | None:
        """The instant when the timeout of a program has passed under every policy, None if there is no timeout."""
        timeouts = [program.timeout_ms if program else None for program in view.programs(attempt.program)]
        known = [timeout for timeout in timeouts if timeout is not None]
        if len(known) < len(timeouts):
            return None
        return self.elapsed - view.moment.boot + attempt.started_boot_ms + max(known)

    def _answered(self, view: View, reply: Reply) -> None:
        line = self._asked.pop(reply.reply_to, None)
        hold("every_line_is_answered_once", line is None, f"{reply}")
        output = reply.answer.output
        try:
            text = output if isinstance(output, str) else "".join(output)
        except StoreFailed:
            # A long answer is made while it is sent. If the store cannot be read then, the console ends the connection.
            self._say("answer broken off:", line)
            return
        without_place = _OF_THE_PLACE.sub("", text.replace(str(self.appliance.path), ""))
        self.digest.update(f"{self.elapsed} {reply.answer.error} {without_place}\n".encode())
        self.checker.answer(view, line or "", reply.answer)

    # Ends and starts

    def crash(self, where: str) -> None:
        if self.up:
            self.dice.counts["crash"] += 1
            self._down(f"crash {where}")

    def _down(self, why: str) -> None:
        """Loses the events on their way to the daemon. The daemon starts again at once or much later."""
        self._say("down:", why)
        self.up, self._is_starting, self._outputs_fail = False, False, None
        self.agenda.keep(callable)
        self._asked.clear()
        self._delivered.clear()
        self._read.clear()
        self.processes.crash()
        self.appliance.close()
        self.after(0 if self.dice.maybe(0.3) else self.dice.time(SECOND, 2 * DAY), self.start)

    def start(self) -> None:
        """Starts the daemon. If its first turn cannot be stored, the daemon lives on and tries it again, or is started later."""
        if self.up:
            return
        if self.dice.happens("clock set while down"):
            self.set_clock(self.dice.clock_step())
        if not judged(with_store(self.text, self.appliance.path)).accepted:
            self.text = self._accepted
        remains = self.processes.remains(self.checker.rows.started)
        try:
            self.appliance.restart(0, self.text, remains.survivors, remains.outputs)
            is_started, lives = self.appliance.core.is_settled, True
        except StoreFailed:
            is_started = lives = False
        except Crash as crash:
            self._committed(self.appliance.state.options)
            self.up = True
            self.crash(str(crash))
            return
        if not is_started and lives and self.dice.happens("degraded start lives"):
            self.up = self._is_starting = True
            self._accepted = self.text
            self._say("up, but degraded:", self.appliance.clock.moment(), self.text)
            self._adopt(remains.survivors)
            return
        if not is_started:
            self.appliance.close()
            self.after(self.dice.time(SECOND, HOUR), self.start)
            return
        self.up = True
        self.dice.counts["start"] += 1
        self._has_started(remains.survivors)

    def _has_started(self, adopted: Iterable[AttemptKey] = ()) -> None:
        self.checker.start()
        self._say("up:", self.appliance.clock.moment(), self.text)
        self._accepted, self._has_booted, self._clock_is_right = self.text, False, True
        view = self._committed(self.appliance.state.options)
        self._adopt(adopted)
        if self.dice.counts["start"] % LOOK_AT_ALL == 0:
            self.checker.whole(self.appliance.database._connection)
        self._perform(view, self.appliance.effects)
        self._claim_again()

    def _adopt(self, adopted: Iterable[AttemptKey]) -> None:
        for name in adopted:
            self.processes.adopt(name)

    def _recognize(self, left: Remains) -> Remains:
        """What a daemon that starts recognizes, by the boot that it takes this one for."""
        boot = self.appliance.state.boot
        query = "SELECT value FROM meta WHERE key = 'last_boot_id'"
        (recorded,) = self.appliance.database._connection.execute(query).fetchone()
        last = self._boots_of[recorded]
        if self._clock_is_right:
            is_wrong = len(last) == 1 and boot.has_ticked != (self._boots in last)
            hold("boots_are_told_apart", is_wrong, f"{boot} after {recorded} of boot {last}, in boot {self._boots}")
        elif self.appliance.hides_boot or recorded.startswith(UNKNOWN_BOOT):
            self._lose_the_clock()
        self._boots_of.setdefault(boot.name, set()).add(self._boots)
        started = self.checker.rows.started.values()
        for attempt in started if self._clock_is_right else ():
            is_trusted = boot.includes(attempt.boot_id) is True and self._boots not in self._boots_of[attempt.boot_id]
            hold("no_pid_of_another_boot_is_trusted", is_trusted, f"{attempt} in {boot}")
        # What the pid cannot show, the output shows.
        others = {attempt.key for attempt in started if boot.includes(attempt.boot_id) is False}
        return Remains({key: left.survivors[key] for key in left.survivors if key not in others}, left.outputs)

    def _claim_again(self) -> None:
        for mark in sorted(self.work):
            if self.up:
                self.claim(mark)

    def claim(self, mark: str) -> None:
        """The daemon claims a file of the spool, for the first time or again."""
        lines, arrived_ms = self.work[mark]
        self.post(
            self.dice.time(1, 100), self.appliance.dropped("".join(f"{line}\n" for line in lines), mark, arrived_ms)
        )

    def reboot(self, step_ms: int) -> None:
        """Reboots: all processes are gone, and the wall clock may have been set meanwhile by an unknown amount."""
        self.crash("reboot")
        self.processes.reboot()
        self._boots += 1
        self.appliance.boot_id = f"3f1c1f9e-0000-4000-8000-{self._boots:012d}"
        self._has_booted = True
        self._lose_the_clock(max(0, -step_ms))
        now = self.appliance.clock.moment()
        # The boot clock starts at 10 seconds, although no time has passed.
        self._clock_is_right &= step_ms >= 0 and now.boot > BOOT_TOLERANCE_MS + 20 * SECOND
        self.appliance.clock = ManualClock(now.wall + step_ms, boot=10 * SECOND)

    def _lose_the_clock(self, set_back_ms: int = 0) -> None:
        """In another boot, or in one that looks like another, it is unknown by how much the clock was set."""
        self.checker.past.boot += 1
        # The time without power is unknown too.
        off = self.elapsed - self._settled_at
        self.checker.delay(self._set_back + set_back_ms + off + NEARLY_MS + self.elapsed // DRIFT)
        self.checker.past.was_set_forward = True

    def set_clock(self, step_ms: int) -> None:
        self._say("clock step", step_ms)
        self._clock_is_right = False
        self.appliance.clock.step(step_ms)
        if step_ms > 0:
            self.checker.past.was_set_forward = True
            # The appliance ignores small steps of the clock.
            self.checker.delay(NEARLY_MS + self.elapsed // DRIFT)
        elif self._has_booted:
            self.checker.delay(-step_ms)
        else:
            self._set_back -= step_ms
            self.checker.set_back(-step_ms)
