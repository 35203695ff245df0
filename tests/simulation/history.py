"""One history: a machine and its operators run for some days while things go wrong. A seed fixes the history."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from schedappliance.engine.effects import StartProgram
from schedappliance.engine.events import ReloadRequested, StopRequested, ZonesChanged
from tests.simulation.checker import hold
from tests.simulation.dice import DAY, HOUR, MINUTE, PER_DAY, SECOND, Dice
from tests.simulation.files import PROGRAMS, Files, edited, new_files, with_all, without
from tests.simulation.machine import Machine, Say
from tests.simulation.operators import Operators
from tests.simulation.view import Move, View
from tests.simulation.zones import calendar_line
from tests.support.core import NODE

MOST_OCCURRENCES = 2000
# A history ends after this many occurrences. Catching up at the end adds some, still within the maximum.
ENOUGH_OCCURRENCES = 1200
# The share of events that trigger another event.
TOGETHER = 0.2
# An operator stops a run soon after a program was started: after three minutes on average.
STOPS_PER_DAY = DAY / (3 * MINUTE)
# In a history with alerts, much fails, so that a few days show the mistakes.
WITH_ALERTS = {"fails": 0.5, "commit fails": 0.05, "crash before effect": 0.02, "slow start": 0.3, "suspend": 0}
# Long enough for a run that waits for its fourth attempt, with an hour before each.
QUIET = 2 * DAY


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one history. Equal histories have equal digests."""

    seed: int
    occurrences: int
    ends: Counter[str]
    counts: Counter[str]
    moves: Counter[Move]
    pruned: int
    digest: str


def silent(*_what: object) -> None:
    pass


def live(seed: int, days: float, say: Say = silent, has_calendars: bool = False, has_alerts: bool = False) -> Figures:
    """Simulates one history; raises Broken. Its store is in memory if possible, since crashes are only simulated.

    `has_calendars`: also calendar jobs, with zone data that changes. `has_alerts`: the declared jobs have alerts.
    """
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with TemporaryDirectory(prefix="simulation-", dir=place) as directory:
        history = History(seed, Path(directory), say, has_calendars, has_alerts)
        try:
            return history.live_days(days)
        finally:
            history.appliance.close()


class History(Machine):
    def __init__(
        self, seed: int, directory: Path, say: Say = silent, has_calendars: bool = False, has_alerts: bool = False
    ) -> None:
        self.seed = seed
        dice = Dice(seed)
        if has_alerts:
            dice.rates |= WITH_ALERTS
        self.files = new_files(dice, has_calendars, has_alerts)
        super().__init__(dice, directory, self.files.text(), say, has_calendars)
        self._operators = Operators(dice, self.checker.rows)
        self._drops = 0
        self._kills_next = self._removes_next = False

    def live_days(self, days: float) -> Figures:
        for what in PER_DAY:
            self._again(what)
        if self.zones:
            self._calendar_line()
            self._zones_change()
        self.live(int(days * DAY))
        self._become_calm()
        past = self.checker.past
        digest = self.digest.hexdigest()[:16]
        return Figures(self.seed, len(past.claimed), past.ends, self.dice.counts, past.moves, past.pruned, digest)

    def is_over(self) -> bool:
        return len(self.checker.past.claimed) >= ENOUGH_OCCURRENCES and not self.dice.calm

    def _again(self, what: str) -> None:
        """Makes an event happen now and then, and sometimes another one with it."""
        wait = self.dice.until_next(what)
        if wait is not None and not self.dice.calm:
            self.after(wait, lambda: self._recur(what))

    def _recur(self, what: str) -> None:
        if not self.dice.calm:
            self._happen(what)
            if self.dice.maybe(TOGETHER):
                self._happen(self.dice.choice([one for one in PER_DAY if self.dice.rates[one]]))
            self._again(what)

    def _happen(self, what: str) -> None:
        self.dice.counts[what] += 1
        self._say("happens", what)
        getattr(self, f"_{what.replace(' ', '_')}")()

    def _kill(self) -> None:
        """Kills the daemon at once, or while the next program to start is running."""
        if self.dice.maybe(0.3):
            self.crash("killed")
        else:
            self._kills_next = True

    def _start_program(self, view: View, effect: StartProgram) -> None:
        super()._start_program(view, effect)
        if self.dice.happens("stopped"):
            self.after(self.dice.waits(STOPS_PER_DAY), lambda: self._type(self._operators.stop()))
        if self.dice.happens("held"):
            self.after(self.dice.waits(STOPS_PER_DAY), self._hold)
        if self._kills_next and not self.dice.calm:
            self._kills_next = False
            self.after(self.dice.time(1, 10 * MINUTE), lambda: self.crash("killed"))

    def _hold(self) -> None:
        """Holds the appliance for two hours on average, sometimes with a planned end.

        A daemon that is down is released after its start.
        """
        duration = self.dice.waits(DAY / (2 * HOUR))
        if duration % 4 == 1:
            self._type(f"sched hold for {duration // SECOND + 1} maintenance")
        else:
            self._type("sched hold maintenance")
            self.after(duration, self._release)

    def _release(self) -> None:
        self._type("sched release")
        if not self.up or self.appliance.state.status.hold:
            self.after(MINUTE, self._release)

    def _reboot(self) -> None:
        self.reboot(self.dice.clock_step() if self.dice.maybe(0.5) else 0)

    def _stop(self) -> None:
        self.post(0, StopRequested("SIGTERM"))

    def _clock_step(self) -> None:
        """Sets the clock. The turn that follows may fail."""
        self.set_clock(self.dice.clock_step())
        if self.up and self.dice.happens("step not committed"):
            self.appliance.database.failing_commits = 1

    def _suspend(self) -> None:
        self.advance(self.dice.time(MINUTE, 2 * DAY))

    def _outage(self) -> None:
        self.appliance.fill(True)
        self.after(self.dice.time(SECOND, 2 * MINUTE), lambda: self.appliance.fill(False))

    def _edit(self) -> None:
        """Edits the files at once, or while a run waits; then the run has no program for a while."""
        if self.dice.maybe(0.7):
            self._write(edited(self.files, self.dice))
        else:
            self._removes_next = True

    def _has_settled(self) -> None:
        super()._has_settled()
        waiting = self.checker.rows.queued() if self._removes_next and not self.dice.calm else []
        if waiting and (program := waiting[-1].program):
            self._removes_next = False
            self.after(self.dice.time(SECOND, 10 * MINUTE), lambda: self._remove(program))

    def _remove(self, program: str) -> None:
        self._write(without(self.files, program))
        self.after(self.dice.time(MINUTE, DAY), lambda: self._write(with_all(self.files, self.dice)))

    def _write(self, files: Files) -> None:
        """Changes the file, and tells the daemon if it runs."""
        self.files = files
        self.text = self.files.text() + ("nonsense {\n" if self.dice.happens("bad file") else "")
        if self.up:
            self.post(self.dice.time(200, 2 * SECOND), self.appliance.read_prepared(self.text))

    def _hangup(self) -> None:
        self.post(0, ReloadRequested("SIGHUP"))

    def _line(self) -> None:
        """Types a line, sometimes several at once."""
        for _ in range(self.dice.choice((1, 1, 1, 3))):
            self._type(self._operators.line(self.appliance.clock.moment().wall))

    def _type(self, line: str) -> None:
        if self.up:
            self.post(0, self.appliance.typed(line))

    def _burst(self) -> None:
        line = self._operators.burst()
        self._type(line)
        self.after(self.dice.time(5 * SECOND, MINUTE), lambda: self._end_burst(line.split(" ", 3)[3]))

    def _end_burst(self, command: str) -> None:
        """Deletes the job of the burst as soon as possible."""
        jobs = [job.number for job in self.checker.rows.jobs.values() if job.command == command]
        for number in jobs:
            self._type(f"sched delete {NODE}-{number:09d}")
        if jobs:
            self.after(5 * SECOND if self.up else MINUTE, lambda: self._end_burst(command))

    def _calendar_line(self) -> None:
        """Types a line that makes a calendar job, again and again."""
        self.dice.counts["calendar"] += 1
        self._type(calendar_line(self.dice, f"run {self.dice.picked(PROGRAMS)} c{self.dice.counts['calendar']}"))
        if not self.dice.calm:
            self.after(self.dice.waits(1.5), self._calendar_line)

    def _zones_change(self) -> None:
        """Other zone data, or a machine in another zone: a daemon that runs notices it at its next audit."""
        assert self.zones
        if self.dice.calm:
            return
        self.after(self.dice.waits(0.3), self._zones_change)
        self.dice.counts["zones"] += 1
        self.zones.change(self.dice)
        if self.up and self.appliance.state.schedules.zones.changed():
            self.post(10 * SECOND, ZonesChanged(self.zones.zones))

    def _drop(self) -> None:
        self._drops += 1
        wall = self.appliance.clock.moment().wall
        mark = f"{self._drops:012d}~drop{self._drops}.cmd"
        self.work[mark] = self._operators.drop(wall), wall
        if self.up:
            self.claim(mark)

    def _become_calm(self) -> None:
        """Stops all faults and all new work, so that everything ends."""
        self.dice.calm = True
        self.appliance.fill(False)
        self.start()
        end = self.elapsed + QUIET
        while not self._is_quiet() and self.elapsed < end:
            self.processes.end_all()
            for job in list(self.checker.rows.jobs.values()):
                if not job.paused:
                    self._type(f"sched pause {NODE}-{job.number:09d}")
            self.live(self.elapsed + HOUR)
        hold("every_occurrence_ends", bool(self.checker.rows.live), f"{list(self.checker.rows.live.values())}")
        hold("every_drop_is_answered", bool(self.work), f"{self.work}")
        hold("the_daemon_starts", not self.up, "it is down")
        self.look()
        self.checker.whole(self.appliance.database._connection)

    def _is_quiet(self) -> bool:
        rows = self.checker.rows
        return self.up and not rows.live and not self.work and all(job.paused for job in rows.jobs.values())
