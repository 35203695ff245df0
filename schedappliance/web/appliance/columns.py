"""The runs of the last days, as one array for each field: 110,000 runs take a few megabytes.

Rule: rows are in the order of their sequence, which a run keeps. Nothing here reads the time or asks the appliance.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import compress, islice
from typing import Any, NamedTuple

from schedappliance.client.states import FAILED, LIVE, RANKS

# The number of a state in the arrays is its rank: of several states in one column, the greatest is shown.
STATES, NUMBERS = tuple(RANKS), RANKS
LIVE_NUMBERS = frozenset(NUMBERS[state] for state in LIVE)
SUCCEEDED = NUMBERS["succeeded"]
FAILED_NUMBERS = frozenset(NUMBERS[state] for state in FAILED)
# No instant. Instants are milliseconds since 1970.
NEVER = -1
# As in the engine: what is usual for a job is the median of so many runs, and unknown with fewer than the least.
USUAL_RUNS, LEAST_RUNS = 5, 3


class RunRow(NamedTuple):
    """One run. `run` is its id, and `job` that of its job."""

    run: str
    job: str
    state: str
    due_ms: int
    started_ms: int | None
    ended_ms: int | None
    # How long the last attempt took; None before its end, and if there was none.
    took_ms: int | None
    # The boot time at which the last attempt began, as Feed sets it; None if the run does not go on.
    began_ms: int | None = None


class RunColumns:
    """The arrays. `jobs` holds the numbers in the ids of jobs; with `node` they are the ids."""

    def __init__(self) -> None:
        self.node = ""
        self.sequences, self.jobs, self.occurrences = array("q"), array("q"), array("q")
        self.due, self.started, self.ended, self.took = array("q"), array("q"), array("q"), array("q")
        self.states = bytearray()
        # Only of runs that go on, by their sequences.
        self.began: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.states)

    def put(self, run: Mapping[str, Any]) -> None:
        """Adds a run, or replaces what is stored of it. `run`: a row of `json sched history`, or an event of kind `run`."""
        sequence = run["sequence"]
        at = bisect_left(self.sequences, sequence)
        if at < len(self) and self.sequences[at] == sequence:
            for column, value in zip(self._columns(), self._values(run), strict=True):
                column[at] = value
        else:
            for column, value in zip(self._columns(), self._values(run), strict=True):
                column.insert(at, value)

    def fill(self, runs: Iterable[Mapping[str, Any]]) -> None:
        """Adds many runs, in any order. The last row of a run counts."""
        rows = {run["sequence"]: self._values(run) for run in runs}
        if rows and len(self) and min(rows) <= self.sequences[-1]:
            # Pages come with the newest runs first: what is newer than the page is set aside and put behind it.
            at = bisect_left(self.sequences, min(rows))
            until = bisect_left(self.sequences, max(rows) + 1)
            within = zip(*(column[at:until] for column in self._columns()), strict=True)
            rows = {row[0]: row for row in within} | rows
            later = [column[until:] for column in self._columns()]
            for column in self._columns():
                del column[at:]
        else:
            later = []
        self._append(rows[sequence] for sequence in sorted(rows))
        for column, values in zip(self._columns(), later, strict=False):
            column.extend(values)

    def forget(self, before_ms: int) -> None:
        """Forgets the runs that ended before an instant."""
        stays = (state in LIVE_NUMBERS or self.end(at) >= before_ms for at, state in enumerate(self.states))
        remaining = list(compress(zip(*self._columns(), strict=True), stays))
        for column in self._columns():
            del column[:]
        self._append(remaining)

    def _columns(self) -> tuple[Any, ...]:
        return self.sequences, self.jobs, self.occurrences, self.due, self.started, self.ended, self.took, self.states

    def _append(self, rows: Iterable[Sequence[int]]) -> None:
        for column, values in zip(self._columns(), zip(*rows, strict=True), strict=False):
            column.extend(values)

    def _values(self, run: Mapping[str, Any]) -> tuple[int, ...]:
        if (began := run.get("began_ms")) is not None:
            self.began[run["sequence"]] = began
        else:
            self.began.pop(run["sequence"], None)
        job, _, occurrence = run["run"].rpartition("/")
        self.node, _, number = job.rpartition("-")
        took = None if run["ended_ms"] is None else run["took_ms"]
        times = (NEVER if time is None else time for time in (run["started_ms"], run["ended_ms"], took))
        return (run["sequence"], int(number), int(occurrence), run["due_ms"], *times, NUMBERS[run["state"]])

    def row(self, at: int) -> RunRow:
        job = self.id_of(self.jobs[at])
        started, ended, took = self.started[at], self.ended[at], self.took[at]
        return RunRow(
            f"{job}/{self.occurrences[at]}",
            job,
            STATES[self.states[at]],
            self.due[at],
            None if started == NEVER else started,
            None if ended == NEVER else ended,
            None if took == NEVER else took,
            self.began.get(self.sequences[at]),
        )

    def id_of(self, job: int) -> str:
        return f"{self.node}-{job:09d}"

    def number_of(self, job: str) -> int:
        """The number in the id of a job; -1, which no job has, for another text."""
        node, _, digits = job.rpartition("-")
        return int(digits) if node == self.node and digits.isascii() and digits.isdigit() else -1

    def of(self, job: str, most: int = 100) -> list[RunRow]:
        """The last runs of a job, the newest first."""
        return self.newest([job], most)[job]

    def newest(self, jobs: Collection[str], most: int = 20) -> dict[str, list[RunRow]]:
        """The last runs of each of the jobs, the newest first."""
        rows: dict[int, list[int]] = {self.number_of(job): [] for job in jobs}
        open_ones = {number for number in rows if number >= 0} if most else set()
        for at, number in zip(range(len(self) - 1, -1, -1), reversed(self.jobs), strict=True):
            if number in open_ones:
                rows[number].append(at)
                if len(rows[number]) == most:
                    open_ones.discard(number)
                    if not open_ones:
                        break
        return {job: [self.row(at) for at in rows[self.number_of(job)]] for job in jobs}

    def only(self, jobs: Iterable[str]) -> RunColumns:
        """The runs of these jobs, as columns of their own."""
        made, numbers = RunColumns(), {self.number_of(job) for job in jobs}
        made.node, made.began = self.node, self.began
        made._append(compress(zip(*self._columns(), strict=True), [number in numbers for number in self.jobs]))
        return made

    def last(self, states: Collection[str], most: int) -> list[RunRow]:
        """The last runs that are in one of the states, the newest first."""
        numbers = {NUMBERS[state] for state in states}
        rows = (at for at in range(len(self) - 1, -1, -1) if self.states[at] in numbers)
        return [self.row(at) for at in islice(rows, most)]

    def failing(self) -> set[str]:
        """The jobs whose last run failed. One that goes on, did not start or was cancelled says nothing about its job."""
        last: dict[int, int] = {}
        for number, state in zip(reversed(self.jobs), reversed(self.states), strict=True):
            if number not in last and (state == SUCCEEDED or state in FAILED_NUMBERS):
                last[number] = state
        return {self.id_of(number) for number, state in last.items() if state != SUCCEEDED}

    def live(self) -> list[RunRow]:
        """The runs that wait or go on, the oldest first."""
        return [self.row(at) for at, state in enumerate(self.states) if state in LIVE_NUMBERS]

    def counts(self, since_ms: int) -> Counter[str]:
        """How many runs have ended since an instant, by state."""
        rows = zip(self.states, self.due, self.ended, strict=True)
        states = Counter([state for state, due, ended in rows if (due if ended == NEVER else ended) >= since_ms])
        return Counter({STATES[s]: n for s, n in states.items() if s not in LIVE_NUMBERS})

    def end(self, at: int) -> int:
        """When a run ended. One that never started ended when it was due."""
        return self.ended[at] if self.ended[at] != NEVER else self.due[at]

    def usual(self, jobs: Collection[str]) -> dict[str, int | None]:
        """How long a run of each job takes: the lower median of the last ones that succeeded; None if they are too few."""
        durations: dict[int, list[int]] = {self.number_of(job): [] for job in jobs}
        open_ones = {number for number in durations if number >= 0}
        for at, number in zip(range(len(self) - 1, -1, -1), reversed(self.jobs), strict=True):
            if number in open_ones and self.states[at] == SUCCEEDED and self.took[at] != NEVER:
                durations[number].append(self.took[at])
                if len(durations[number]) == USUAL_RUNS:
                    open_ones.discard(number)
                    if not open_ones:
                        break
        return {job: _usual(durations[self.number_of(job)]) for job in jobs}

    def usual_ms(self, job: str) -> int | None:
        return self.usual([job])[job]


def _usual(durations: list[int]) -> int | None:
    return sorted(durations)[(len(durations) - 1) // 2] if len(durations) >= LEAST_RUNS else None
