"""What the daemon counts and measures, for the command `metrics`.

Rule: a turn that is undone counts nothing, and a label never holds a command, a user, a run or the text of an exit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from schedappliance.engine.states import FAILURES, RunState
from schedappliance.engine.undoable import Undoable

Labels = tuple[str, ...]
# The name of a counter and the values of its labels.
CounterKey = tuple[str, Labels]

# The upper bounds of histograms, in seconds. Larger values are counted in one more range.
DELAYS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
RUNS = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400)
TURNS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1)

# The names of the labels of each counter.
COUNTERS: dict[str, Labels] = {
    "runs_total": ("state", "origin"),
    "due_times_missed_total": (),
    "attempts_total": ("program", "result"),
    "commands_total": ("verb", "outcome"),
    "drops_total": ("outcome",),
    "reloads_total": ("outcome",),
    "alerts_total": ("notify", "outcome"),
}
# The counters that begin at 0 with the daemon. Most commands write nothing, so there is no transaction for their count.
PASSING = frozenset({"commands_total"})

# The time from the due time of a run to its claim.
LATENESS = "run_lateness_seconds"

# The names of the labels of each histogram, and its bounds.
HISTOGRAMS: dict[str, tuple[Labels, tuple[float, ...]]] = {
    LATENESS: ((), DELAYS),
    "run_wait_seconds": ((), DELAYS),
    "run_duration_seconds": (("program",), RUNS),
    "turn_duration_seconds": ((), TURNS),
}


class JobEnds(NamedTuple):
    """The last ends of the runs of a job, in wall milliseconds. `failures`: how many failed since the last one succeeded.

    Only runs that succeeded or failed count.
    """

    failures: int = 0
    success_ms: int | None = None
    end_ms: int | None = None
    duration_ms: int | None = None

    def after(self, state: RunState, end_ms: int, duration_ms: int | None) -> JobEnds:
        """The ends after one more run has ended."""
        if state is RunState.SUCCEEDED:
            return JobEnds(0, end_ms, end_ms, duration_ms)
        return JobEnds(self.failures + 1, self.success_ms, end_ms, duration_ms) if state in FAILURES else self


class JobRuns(NamedTuple):
    """The runs of a job that have ended. `number`: how many in each state."""

    ends: JobEnds
    number: Mapping[str, int]

    def after(self, state: RunState, end_ms: int, duration_ms: int | None) -> JobRuns:
        """The runs after one more has ended."""
        number = {**self.number, state: self.number.get(state, 0) + 1}
        return JobRuns(self.ends.after(state, end_ms, duration_ms), number)

    def row(self, job: int) -> str:
        """The row of the job in the answer, as JSON."""
        failures, success, end, duration = self.ends
        numbers = ", ".join([f'"{state}": {number}' for state, number in self.number.items()])
        text = f"[{job}, {failures}, {success}, {end}, {duration}, {{{numbers}}}]"
        is_known = end is not None and success is not None and duration is not None
        return text if is_known else text.replace("None", "null")


@dataclass(slots=True)
class Metrics:
    """What the turns so far have counted and measured. State adds what each turn notes.

    `counters`: mirrors rows, except those in PASSING. `histograms`: how often a measurement was at most each of the bounds,
    and larger than all; then the sum in seconds.

    The rest mirrors rows of the declared jobs, once somebody has asked. `jobs`, `rows`: the ended runs of each job by its
    number, and their row in the answer, which is written when a run ends, so that an answer need not write hundreds at once.
    `due`: the due time of each job as JSON, in the order of `columns`. `columns`: the rest of the answer about them, by the
    number of rewrites of the jobs for which it holds.
    """

    counters: Counter[CounterKey] = field(default_factory=Counter)
    histograms: dict[tuple[str, Labels], list[float]] = field(default_factory=dict)
    jobs: Undoable[int, JobRuns] = field(default_factory=Undoable)
    rows: Undoable[int, str] = field(default_factory=Undoable)
    due: Undoable[int, str] = field(default_factory=Undoable)
    columns: Undoable[int, tuple[str, ...]] = field(default_factory=Undoable)

    def note_end(self, job: int, state: RunState, end_ms: int, duration_ms: int | None) -> None:
        """Follows the row of a run that has just ended, of a job in `jobs`."""
        self.put(job, self.jobs[job].after(state, end_ms, duration_ms))

    def note_due(self, job: int, next_run_ms: int | None) -> None:
        """Follows the row of a job that was advanced."""
        if job in self.due:
            self.due[job] = "null" if next_run_ms is None else str(next_run_ms)

    def put(self, job: int, runs: JobRuns) -> None:
        self.jobs[job] = runs
        self.rows[job] = runs.row(job)

    def drop(self, job: int) -> None:
        """Forgets a job that is not declared any more."""
        del self.jobs[job], self.rows[job]

    def forget_jobs(self) -> None:
        """Forgets the mirrors, so that the rows are read again."""
        self.jobs, self.rows = Undoable(), Undoable()
        self.due, self.columns = Undoable(), Undoable()
