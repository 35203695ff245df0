"""What the daemon counts and measures, for the command `metrics`.

Rule: a turn that is undone counts nothing, and a label never holds a command, a user, a run or the text of an exit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Set
from dataclasses import dataclass, field
from typing import NamedTuple

from schedappliance.engine.states import FAILURES, RunState

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


@dataclass(slots=True)
class Metrics:
    """What the turns so far have counted and measured. State adds what each turn notes.

    `counters`: mirrors rows, except those in PASSING. `histograms`: how often a measurement was at most each of the bounds,
    and larger than all; then the sum in seconds. `ends`, `job_runs`: mirror rows of the declared jobs once somebody has
    asked, by number; after a failed turn they are read again. `job_runs`: how many runs ended in each state. `texts`: the
    row of each job in the answer. `numbers`, `names`: of these jobs, each a list as JSON. The name of a number never changes.
    """

    counters: Counter[CounterKey] = field(default_factory=Counter)
    histograms: dict[tuple[str, Labels], list[float]] = field(default_factory=dict)
    job_runs: dict[int, Counter[str]] = field(default_factory=dict)
    ends: dict[int, JobEnds] = field(default_factory=dict)
    texts: dict[int, str] = field(default_factory=dict)
    numbers: str = ""
    names: str = ""

    def note_end(self, job: int, state: RunState, end_ms: int, duration_ms: int | None) -> None:
        """Follows the row of a run that has just ended, of a job in `ends`."""
        self.ends[job] = self.ends[job].after(state, end_ms, duration_ms)
        self.job_runs[job][state] += 1
        self.write_row(job)

    def write_row(self, job: int) -> None:
        """Writes the row of a job in `ends` as JSON, when a run ends, so that an answer needs not write hundreds at once."""
        failures, success, end, duration = self.ends[job]
        counts = ", ".join([f'"{state}": {count}' for state, count in self.job_runs[job].items()])
        text = f"[{job}, {failures}, {success}, {end}, {duration}, {{{counts}}}]"
        is_known = end is not None and success is not None and duration is not None
        self.texts[job] = text if is_known else text.replace("None", "null")

    def forget_ends(self) -> None:
        """Forgets the mirrors of rows after a failed turn."""
        self.numbers = ""
        self.ends.clear()
        self.job_runs.clear()
        self.texts.clear()

    def forget_jobs(self, present: Set[int]) -> None:
        """Forgets the jobs that are not declared any more."""
        for rows in (self.job_runs, self.ends, self.texts):
            for job in rows.keys() - present:
                del rows[job]
