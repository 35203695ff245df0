"""A world around a real core: time jumps from wake to wake, programs run for a set time, operators type on schedule."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from schedappliance.engine.attempts import Exit
from schedappliance.engine.effects import Effect, ReadFiles, SignalProgram, StartProgram
from schedappliance.engine.events import Event, ProgramEnded, ProgramStarted
from schedappliance.engine.records import AttemptKey, ProcessKey, RunKey
from schedappliance.preview.driver import Agenda, wakes
from tests.support.core import SECOND, START_MS, Appliance, dump

STANZAS = """\
Message_Expiration = 86400
program "work" { argv = ( "/bin/work" ) args = ( "[0-9]+" ) timeout = 90 kill_after = 5 }
program "expire" { argv = ( "/bin/work" "7" "%{message_expiration}" ) }
program "fail" { argv = ( "/bin/work" "2" "fail" ) }
program "deaf" { argv = ( "/bin/work" "1000" "deaf" ) timeout = 20 kill_after = 5 }
job "tidy" { every = 300 offset = 30 command = "run expire" }
job "note" { every = 7m command = "sched in 5 config set noted 1" }
"""
LATENCY_MS = 3


class World:
    """One appliance with everything around it. `effects` are all effects with their times.

    A program's first argument is how many seconds it takes; `fail` as the second ends it with status 1, `deaf` lets
    it outlive TERM.
    """

    def __init__(self, path: Path | None, stanzas: str = STANZAS, max_running: int = 4) -> None:
        self.appliance = Appliance(path, stanzas, max_running)
        self.clock = self.appliance.clock
        self.effects: list[tuple[int, Effect]] = []
        self.started: list[RunKey] = []
        self.busiest = 0
        self.turns = 0
        self._stanzas = stanzas
        self._agenda: Agenda[Event] = Agenda()
        self._deaf: set[RunKey] = set()
        self._alive: set[RunKey] = set()

    def close(self) -> None:
        self.appliance.close()

    def plan(self, after_ms: int, event: Event) -> None:
        self._agenda.add(self.clock.moment().boot + after_ms, event)

    def type(self, lines: Iterable[tuple[int, str]]) -> None:
        """Plans console lines, each so many milliseconds from now."""
        for after_ms, line in lines:
            self.plan(after_ms, self.appliance.typed(line))

    def run(self, milliseconds: int) -> None:
        """Runs that long, from wake to wake."""
        end = self.clock.moment().boot + milliseconds
        for events in wakes(self.appliance.core, self.clock, self._agenda, end):
            self._turn(events)
        self.clock.advance(end - self.clock.moment().boot)

    def _turn(self, events: list[Event]) -> None:
        moment = self.clock.moment()
        self._alive -= {event.key.run for event in events if isinstance(event, ProgramEnded)}
        self.turns += 1
        for effect in self.appliance.turn(*events):
            self.effects.append((moment.wall - START_MS, effect))
            if isinstance(effect, StartProgram):
                self._begin(effect)
            elif isinstance(effect, SignalProgram):
                self._signal(effect)
            elif isinstance(effect, ReadFiles):
                self.plan(LATENCY_MS, self.appliance.read(self._stanzas, effect.reply_to, effect.typed))

    def _begin(self, start: StartProgram) -> None:
        seconds, how = int(start.argv[1]), start.argv[2:]
        self.started.append(start.key.run)
        self._alive.add(start.key.run)
        self.busiest = max(self.busiest, len(self._alive))
        if how == ("deaf",):
            self._deaf.add(start.key.run)
        self.plan(LATENCY_MS, ProgramStarted(start.key, ProcessKey(1000 + len(self.started), len(self.started))))
        self._end(start.key.run, LATENCY_MS + seconds * SECOND, Exit(int(how == ("fail",))))

    def _signal(self, effect: SignalProgram) -> None:
        if effect.signal == signal.SIGKILL or effect.key.run not in self._deaf:
            self._end(effect.key.run, LATENCY_MS, Exit(signal=effect.signal))

    def _end(self, key: RunKey, after_ms: int, outcome: Exit) -> None:
        """Plans the end of a program. The core must ignore a second end of the same program."""
        output = f"{key.job}/{key.occurrence}".encode()
        self.plan(after_ms, ProgramEnded(AttemptKey(key, 1), outcome, output, len(output)))

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        return dump(self.appliance.store)

    def log(self) -> list[tuple[int, str]]:
        """The effects in a form that can be compared. Streamed answers have no equality."""
        return [(at, repr(effect)) for at, effect in self.effects if "generator" not in repr(effect)]


class FailingWorld(World):
    """A world whose disk fails: in each turn some commits may fail, and the reads after them."""

    def __init__(self, path: Path | None, seed: int, share: float) -> None:
        super().__init__(path)
        self.failures = 0
        self._chance = random.Random(seed)
        self._share = share

    def _turn(self, events: list[Event]) -> None:
        database = self.appliance.database
        fails = self._chance.random() < self._share
        database.failing_commits = self._chance.randint(1, 4) if fails else 0
        database.failing_reads = self._chance.randint(0, 1) if fails else 0
        self.failures += fails
        super()._turn(events)

    def recover(self) -> None:
        """Repairs the disk and waits for the next try."""
        self._share = 0
        self.run(10 * SECOND)
