"""The random lines that operators type and programs drop. Every line that makes a job has a unique word."""

from __future__ import annotations

from collections.abc import Callable

from schedappliance.engine.records import RunKey, run_id
from tests.simulation.dice import DAY, HOUR, MINUTE, SECOND, Dice
from tests.simulation.files import JOB, JOBS, PROGRAM, PROGRAMS, SCHED, periods
from tests.simulation.journal import Rows
from tests.support.core import NODE

# Options that can be set only in the files.
FILES_ALONE = ("env", "on_failure", "success")


class Operators:
    """They use the ids of the jobs, and sometimes a wrong one."""

    def __init__(self, dice: Dice, rows: Rows) -> None:
        self._dice, self._rows = dice, rows
        self._marks = 0

    def line(self, wall_ms: int) -> str:
        """A line for the console."""
        lines: list[tuple[int, Callable[[], str]]] = [
            (8, lambda: self._droppable(wall_ms)),
            (1, lambda: "config reload"),
            (1, lambda: f"run --wait {self._dice.choice(PROGRAMS)} {self._mark()}"),
            (
                1,
                lambda: self._dice.choice(
                    ("sched list", "summary", "json metrics", "sched history", "config get pace", "nonsense")
                ),
            ),
            (1, lambda: f"{self._dice.choice(('sched show', 'sched why', 'sched history'))} {self._id()}"),
        ]
        return self._chosen(lines)

    def drop(self, wall_ms: int) -> list[str]:
        """The lines of a drop. Some drops contain a line that is rejected."""
        lines = [self._droppable(wall_ms) for _ in range(self._dice.randint(1, 4))]
        return [*lines, "sched every 0 pid"] if self._dice.maybe(0.1) else lines

    def stop(self) -> str:
        """A line that stops a run which has not ended; sometimes any other."""
        runs = list(self._rows.live) or list(self._rows.runs)
        key = self._dice.picked(runs) if runs and not self._dice.apart(0.05) else RunKey(1, 1)
        return f"sched stop {run_id(NODE, key)}"

    def burst(self) -> str:
        """A fast recurrent job, for a short time."""
        return f"sched every {self._dice.choice(('1', '2.5', '10', '60'))} {self._plain()}"

    def _droppable(self, wall_ms: int) -> str:
        lines: list[tuple[int, Callable[[], str]]] = [
            (4, lambda: f"sched in {self._dice.time(SECOND, 2 * DAY) // 1000} {self._command(wall_ms)}"),
            (2, lambda: f"sched at {(wall_ms + self._dice.randint(-MINUTE, DAY)) // 1000} {self._command(wall_ms)}"),
            (2, lambda: f"sched every {self._dice.choice(periods(self._dice))} {self._nested(wall_ms)}"),
            (3, lambda: f"run {self._dice.choice(PROGRAMS)} {self._mark()}"),
            (2, self._setting),
            (2, lambda: f"sched delete {self._id()}"),
            (2, lambda: f"sched pause {self._id()}"),
            (3, lambda: f"sched resume {self._id()}"),
            (3, lambda: f"sched run {self._id()}"),
        ]
        return self._chosen(lines)

    def _command(self, wall_ms: int) -> str:
        """The command of a job."""
        lines: list[tuple[int, Callable[[], str]]] = [
            (10, self._plain),
            (2, lambda: self._nested(wall_ms)),
            (1, lambda: f"sched every {self._dice.choice(periods(self._dice))} {self._plain()}"),
            (1, lambda: f"sched {self._dice.choice(('delete', 'pause', 'resume', 'run'))} {self._id()}"),
            (1, lambda: "config reload"),
            (1, lambda: "shutdown"),
        ]
        return self._chosen(lines)

    def _nested(self, wall_ms: int) -> str:
        """A command for a recurrent job. It never makes a recurrent job."""
        if self._dice.maybe(0.8):
            return self._plain()
        if self._dice.maybe(0.3):
            return f"sched at {(wall_ms + self._dice.randint(0, HOUR)) // 1000} {self._plain()}"
        return f"sched in {self._dice.randint(1, 7200)} {self._plain()}"

    def _plain(self) -> str:
        if self._dice.maybe(0.8):
            return f"run {self._dice.choice(PROGRAMS)} {self._mark()}"
        return f"config set pace {self._mark()}"

    def _setting(self) -> str:
        """A policy, or an option that programs use."""
        stanza, table = self._dice.choice(
            (
                ("sched", SCHED),
                *((f"program {name}", PROGRAM) for name in PROGRAMS),
                *((f"job {name}", JOB) for name in JOBS),
            )
        )
        option = self._dice.choice([name for name in table if name not in FILES_ALONE])
        value = self._dice.choice(table[option])
        if self._dice.maybe(0.2):
            return f"config set pace {self._mark()}"
        if not value or self._dice.maybe(0.2):
            return f"config unset {stanza} {option}"
        return f"config set {stanza} {option} {value}"

    def _mark(self) -> str:
        self._marks += 1
        return f"m{self._marks}"

    def _id(self) -> str:
        numbers = list(self._rows.jobs)
        number = self._dice.choice(numbers) if numbers and self._dice.maybe(0.95) else self._dice.randrange(1, 50)
        return f"{NODE}-{number:09d}"

    def _chosen(self, lines: list[tuple[int, Callable[[], str]]]) -> str:
        (make,) = self._dice.choices([make for _, make in lines], [weight for weight, _ in lines])
        return make()
