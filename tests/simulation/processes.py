"""Simulated programs: slow, deaf, failing or outliving the daemon, as the dice decide. They report by events."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from schedappliance.engine.attempts import Exit
from schedappliance.engine.effects import SignalProgram, StartProgram
from schedappliance.engine.events import Event, OutputsChecked, ProgramEnded, ProgramNotStarted, ProgramStarted, Remains
from schedappliance.engine.records import AttemptKey, ProcessKey
from tests.simulation.dice import HOUR, MINUTE, SECOND, Dice

TICKS = 7
NOT_LOOKED_UP = "the program's user or group cannot be looked up: no answer"


@dataclass(slots=True)
class Process:
    """A program from its order to its end. `began`: it runs; `watched`: its parent, the daemon, will learn how it ends.

    `success`: the statuses that mean success; `exit`: how it ends by itself, then what is known of its end; `signals`:
    those that were sent. `term_at`, `kill_at`: when a daemon must have sent TERM and KILL; `timeout_at`: `term_at` of its start,
    which each daemon has. None: never.
    """

    key: AttemptKey
    pid: int
    exit: Exit
    deaf: bool
    began: bool = False
    gone: bool = False
    watched: bool = True
    success: tuple[int, ...] = (0,)
    told_at: int = 0
    timeout_at: int | None = None
    term_at: int | None = None
    kill_at: int | None = None
    signals: list[int] = field(default_factory=list)

    @property
    def signal_at(self) -> int | None:
        """The time by which the next signal must be sent."""
        if signal.SIGKILL in self.signals:
            return None
        return self.kill_at if self.signals else self.term_at


class Processes:
    """All programs of the machine. `present` start or run. The ends of those in `untold` are on their way; None
    is a start that failed.

    `after` makes something happen later, `post` puts an event into the daemon's inbox, `now` is the time; `begins`
    is called when a program really starts.
    """

    def __init__(
        self,
        dice: Dice,
        now: Callable[[], int],
        after: Callable[[int, Callable[[], None]], None],
        post: Callable[[int, Event], None],
        begins: Callable[[AttemptKey], None],
    ) -> None:
        self.present: dict[AttemptKey, Process] = {}
        self.untold: dict[AttemptKey, Process | None] = {}
        self._dice, self._now, self._after, self._post, self._begins = dice, now, after, post, begins
        self._pids = 1000

    def start(self, effect: StartProgram, term_at: int | None, success: tuple[int, ...]) -> None:
        """The daemon orders a start; the machine may be short of something, the file may be missing."""
        key, dice = effect.key, self._dice
        self.untold.pop(key, None)
        latency = dice.time(1, MINUTE) if dice.happens("slow start") else dice.time(1, 10)
        if dice.happens("no output"):
            self._lose_outputs(key, latency)
            return
        if dice.happens("user not looked up"):
            self.untold[key] = None
            self._post(latency, ProgramNotStarted(key, NOT_LOOKED_UP, exhausted=True, is_alone=True))
            return
        if (exhausted := dice.happens("exhausted")) or dice.happens("not started"):
            self.untold[key] = None
            reason = "cannot start /bin/work: no memory" if exhausted else "cannot start /bin/work: no such file"
            self._post(latency, ProgramNotStarted(key, reason, exhausted))
            return
        self._pids += 1
        outcome = Exit(dice.choice((1, 3)) if dice.happens("fails") else 0)
        process = Process(
            key, self._pids, outcome, dice.happens("deaf"), success=success, timeout_at=term_at, term_at=term_at
        )
        self.present[key] = process
        self._after(latency, lambda: self._begin(process))

    def _lose_outputs(self, key: AttemptKey, latency: int) -> None:
        """The output directory cannot be written for a while: the machine starts nothing, and says when that is over."""
        self.untold[key] = None
        trouble = "outputs cannot be written to /var/out: no free inode"
        self._post(latency, OutputsChecked(trouble))
        self._post(latency, ProgramNotStarted(key, trouble, exhausted=True))
        self._post(latency + MINUTE * (1 + len(self.untold)), OutputsChecked(None))

    def _begin(self, process: Process) -> None:
        if process.gone or process.began:
            return
        process.began = True
        self._begins(process.key)
        if process.watched:
            latency = self._dice.time(1, 10)
            process.told_at = self._now() + latency
            self._post(latency, ProgramStarted(process.key, ProcessKey(process.pid, TICKS)))
        longest = 8 * HOUR if self._dice.happens("long") else 10 * MINUTE
        lasts = SECOND if self._dice.calm else self._dice.time(1, longest)
        self._after(lasts, lambda: self._end(process, process.exit))
        for number in process.signals:
            self._hear(process, number)

    def signal(self, effect: SignalProgram) -> None:
        """A program that is still starting gets the signal after its start. One that has just ended does not get it."""
        key = effect.key
        if process := self.present.get(key) or self.untold.get(key):
            process.signals.append(effect.signal)
            if process.kill_at is None:
                process.kill_at = self._now() + effect.kill_after_ms
            if process.began:
                self._hear(process, effect.signal)

    def _hear(self, process: Process, number: int) -> None:
        if number == signal.SIGKILL or not process.deaf:
            self._after(self._dice.time(1, SECOND), lambda: self._end(process, Exit(signal=number)))

    def _end(self, process: Process, outcome: Exit) -> None:
        if process.gone:
            return
        process.gone = True
        process.exit = outcome if process.watched else Exit()
        if self.present.get(process.key) is process:
            del self.present[process.key]
        if process.told_at:
            self._tell(process)

    def _tell(self, process: Process) -> None:
        """`told_at` is when the daemon heard of the start, 0 for a process that no daemon knows."""
        latency = max(0, process.told_at - self._now()) + self._dice.time(1, 10)
        output = b"said" if self._dice.maybe(0.3) else b""
        event = ProgramEnded(process.key, process.exit, output, len(output))
        self.untold[process.key] = process
        self._post(latency, event)
        if self._dice.happens("end reported twice"):
            self._post(latency + self._dice.time(1, HOUR), event)

    def end_all(self) -> None:
        """Ends all programs."""
        for process in list(self.present.values()):
            self._begin(process)
            self._after(SECOND, lambda process=process: self._end(process, process.exit))  # type: ignore[misc]

    def crash(self) -> None:
        """The daemon is gone. Some of its programs die with it, and some go on. A pending start happens or not."""
        self.untold.clear()
        for process in list(self.present.values()):
            process.watched, process.told_at = False, 0
            process.term_at = process.kill_at = None
            process.signals.clear()
            if not process.began and self._dice.maybe(0.5):
                self._begin(process)
            elif not process.began or not self._dice.happens("survives"):
                self._end(process, Exit())

    def reboot(self) -> None:
        for process in list(self.present.values()):
            process.told_at = 0
            self._end(process, Exit())

    def remains(self, left: Iterable[AttemptKey]) -> Remains:
        """What a starting daemon finds for the attempts whose end is not recorded."""
        survivors = {key: ProcessKey(self.present[key].pid, TICKS) for key in left if key in self.present}
        gone = [key for key in left if key not in survivors]
        return Remains(survivors, {key: (b"left", 4) for key in gone if self._dice.maybe(0.3)})

    def adopt(self, key: AttemptKey) -> None:
        """The new daemon watches it from now on, with the timeout that it was started with."""
        process = self.present[key]
        process.told_at, process.term_at = self._now(), process.timeout_at
