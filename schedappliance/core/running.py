"""The running programs, and the number of live runs, as dictionaries whose changes a turn can undo.

Also the programs of a preview that take no time, and those that are ended while the store cannot be written.

Rule: the cost of a step does not grow with the number of running programs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Set
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

from schedappliance.engine.attempts import Running
from schedappliance.engine.records import Job, RunKey
from schedappliance.engine.undoable import Undoable

if TYPE_CHECKING:
    from schedappliance.engine.events import ProgramStopped
    from schedappliance.model.configuration import Configuration
    from schedappliance.store.failures import StoreFailed

# The heap of deadlines is rebuilt when its hints exceed twice the number of programs by more than this.
MOST_OUTDATED = 64


class LiveRuns(Undoable[int, int]):
    """How many runs have not ended, by job, and in total. A job without such runs is missing."""

    def __init__(self, jobs: Iterable[int] = ()) -> None:
        """`jobs`: the job of each run."""
        super().__init__()
        self.total = 0
        for job, number in Counter(jobs).items():
            self._put(job, number)

    def _put(self, key: int, value: int | None) -> None:
        self.total += (value or 0) - self._values.get(key, 0)
        super()._put(key, value)

    def of_job(self, job: int) -> int:
        return self._values.get(job, 0)

    def add(self, job: int) -> None:
        """Counts a run of a job."""
        self[job] = self.of_job(job) + 1

    def subtract(self, job: int) -> None:
        """Counts a run of a job no more."""
        left = self.of_job(job) - 1
        if left > 0:
            self[job] = left
        else:
            self.pop(job, None)


class RunningPrograms(Undoable[RunKey, Running]):
    """The running programs by their runs, counted by job, by program and by trust, with their deadlines.

    `deadlines` is a heap of hints. A hint is outdated when its program has ended or has another deadline. A turn only
    adds hints, so that undoing it loses none. Outdated hints are removed between turns.
    """

    def __init__(self) -> None:
        super().__init__()
        self._of_job: dict[int, dict[RunKey, None]] = {}
        self._of_program: Counter[str] = Counter()
        # How many belong to guests.
        self.of_guests = 0
        self.deadlines: list[tuple[int, RunKey]] = []

    def _put(self, key: RunKey, value: Running | None) -> None:
        before = self._values.get(key)
        super()._put(key, value)
        if before is not None:
            self._uncount(key, before)
        if value is not None:
            self._of_job.setdefault(key.job, {})[key] = None
            self._of_program[value.program] += 1
            self.of_guests += value.guest is not None
            if value.deadline is not None and (before is None or before.deadline != value.deadline):
                heappush(self.deadlines, (value.deadline, key))

    def _uncount(self, key: RunKey, before: Running) -> None:
        program = before.program
        self.of_guests -= before.guest is not None
        del self._of_job[key.job][key]
        if not self._of_job[key.job]:
            del self._of_job[key.job]
        self._of_program[program] -= 1
        if not self._of_program[program]:
            del self._of_program[program]

    @property
    def jobs(self) -> set[int]:
        """The jobs that have a running program."""
        return set(self._of_job)

    def count_by_job(self) -> dict[int, int]:
        """How many runs of each job are running."""
        return {job: len(runs) for job, runs in self._of_job.items()}

    def of_job(self, job: int) -> list[Running]:
        return [self._values[key] for key in self._of_job.get(job, ())]

    def count(self, program: str) -> int:
        """How many runs of a program are running."""
        return self._of_program[program]

    def overdue(self, boot_ms: int) -> list[Running]:
        """The programs whose next signal is due, in the order of their deadlines."""
        hints: set[tuple[int, RunKey]] = set()
        places = [0]
        while places:
            place = places.pop()
            # In a heap no child is due before its parent, so the search ends at the first hint that is not due.
            if place < len(self.deadlines) and self.deadlines[place][0] <= boot_ms:
                hints.add(self.deadlines[place])
                places += [2 * place + 1, 2 * place + 2]
        return [self._values[key] for at, key in sorted(hints) if self._is_valid(at, key)]

    def next_deadline(self) -> int | None:
        """When the next signal is due, in boot milliseconds; None if none is.

        Call it between turns: it removes hints.
        """
        if len(self.deadlines) > 2 * len(self._values) + MOST_OUTDATED:
            self.deadlines = [(r.deadline, key) for key, r in self._values.items() if r.deadline is not None]
            heapify(self.deadlines)
        while self.deadlines and not self._is_valid(*self.deadlines[0]):
            heappop(self.deadlines)
        return self.deadlines[0][0] if self.deadlines else None

    def _is_valid(self, at_ms: int, key: RunKey) -> bool:
        running = self._values.get(key)
        return running is not None and running.deadline == at_ms


def no_program(_job: Job) -> bool:
    return False


@dataclass(slots=True)
class InstantPrograms:
    """The programs that start and end in one turn, since a preview assumes that they take no time.

    Each keeps its place until the end of the turn, as if its end were an event of the next turn. `takes_no_time`: whether
    the program of a job is assumed to take no time; outside a preview, none is. A preview ends when a turn fails, so
    these need not be undone.
    """

    takes_no_time: Callable[[Job], bool] = no_program
    # How many places they keep: of all places, of those of guests, and of those of each program.
    places: int = 0
    of_guests: int = 0
    of_program: Counter[str] = field(default_factory=Counter)
    # False if a command is due beside the programs: it could see their runs, and stop them.
    _are_alone: bool = False

    def begin(self, due: Iterable[Job]) -> None:
        """Begins a tick that claims these jobs."""
        if self.takes_no_time is not no_program:
            self._are_alone = all(job.command is not None and job.command.bare.form == "run" for job in due)

    def includes(self, job: Job) -> bool:
        return self._are_alone and self.takes_no_time(job)

    def take_place(self, program: str, guest: int | None) -> None:
        self.places += 1
        self.of_guests += guest is not None
        self.of_program[program] += 1

    def leave(self) -> None:
        """Frees all places at the end of a turn."""
        self.places = self.of_guests = 0
        self.of_program.clear()


def is_below_limit(configuration: Configuration, running: RunningPrograms, instant: InstantPrograms, name: str) -> bool:
    """Whether the limit of a program lets a further run of it start."""
    program = configuration.programs.get(name)
    most = program.max_running if program else None
    if most is None and configuration.notify:
        # A program that delivers alerts has a limit by default.
        most = configuration.most_running(name)
    return most is None or running.count(name) + instant.of_program[name] < most


class Unrecorded(NamedTuple):
    """A command that is carried out although the store cannot be written: it only ends a program.

    `failure`: why the store cannot be written. `ended`: the runs whose ends it could not record. `stops`: the programs that
    the command has ended, for the time when the store can be written.
    """

    failure: StoreFailed
    ended: Set[RunKey]
    stops: list[ProgramStopped]

    def check(self, key: RunKey, running: Container[RunKey]) -> None:
        """Raises StoreFailed if a run has no program that could be ended without a row."""
        if key not in running or key in self.ended:
            raise self.failure
