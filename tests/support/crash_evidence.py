"""The state that a killed appliance leaves, and every promise that it breaks.

Rule: it is read from a copy of the store, since opening a store repairs it after a crash.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

NODE = "example.com"
# A command that makes another job, and the command of that job.
MAKER, MADE = "sched in 0.3 run made", "run made"


# What the counters must be. A run may have lost its row only by `history`, which keeps all runs here.
OF_ROWS = """
SELECT state, count(*) FROM runs WHERE state NOT IN ('queued', 'started') GROUP BY state
UNION ALL SELECT 'due times', sum(missed_count) FROM runs WHERE missed_count IS NOT NULL HAVING count(*) > 0
UNION ALL SELECT 'attempts ' || program, count(*) FROM attempts WHERE state != 'started' GROUP BY program
UNION ALL SELECT 'job ' || j.declared || ' ' || r.state, count(*) FROM runs r JOIN jobs j ON j.number = r.job
WHERE j.declared IS NOT NULL AND r.state NOT IN ('queued', 'started') GROUP BY j.declared, r.state
"""
OF_COUNTERS = """
SELECT json_extract(labels, '$[0]'), sum(value) FROM counters WHERE name = 'runs_total' GROUP BY 1
UNION ALL SELECT 'due times', value FROM counters WHERE name = 'due_times_missed_total'
UNION ALL SELECT 'attempts ' || json_extract(labels, '$[0]'), sum(value) FROM counters
WHERE name = 'attempts_total' AND json_extract(labels, '$[1]') != 'not_started' GROUP BY 1
UNION ALL SELECT 'job ' || j.declared || ' ' || e.state, e.number FROM ended_runs e JOIN jobs j ON j.number = e.job
"""


class Job(NamedTuple):
    number: int
    occurrence: int
    interval_ms: int | None
    command: str
    declared: str | None


class Run(NamedTuple):
    job: int
    occurrence: int
    due_ms: int
    state: str
    missed_count: int | None
    missed_since_ms: int | None
    command: str
    attempts: int
    answer: str | None

    @property
    def first(self) -> int:
        """The first occurrence that the row stands for."""
        return self.occurrence - (self.missed_count or 1) + 1


class Attempt(NamedTuple):
    job: int
    occurrence: int
    attempt: int
    state: str

    @property
    def line(self) -> str:
        """The line that its program writes."""
        return f"{NODE}-{self.job:09d}/{self.occurrence} {self.attempt}"


@dataclass(slots=True)
class Evidence:
    """`lines`: what the programs wrote, each run and attempt. `confirmed`: by command, the job that an answer named.

    Every command ends in a unique word. `counters`: how often what happened by the counters, and `counted`: by the rows.
    """

    jobs: list[Job]
    runs: list[Run]
    attempts: list[Attempt]
    integrity: str
    lines: list[str]
    confirmed: dict[str, int] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    counted: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        states = Counter(run.state for run in self.runs)
        interrupted = sum(attempt.state == "interrupted" for attempt in self.attempts)
        runs = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
        return f"{len(self.lines)} lines, {len(self.attempts)} attempts ({interrupted} interrupted), runs: {runs}"

    def broken(self) -> list[str]:
        """The broken promises, of those that hold at every instant."""
        return [
            *([] if self.integrity == "ok" else [f"integrity check: {self.integrity}"]),
            *([] if self.counters == self.counted else [f"the counters say {self.counters}, the rows {self.counted}"]),
            *self._lines_without_cause(),
            *self._occurrences(),
            *self._attempts(),
            *self._commands(),
        ]

    def broken_at_rest(self) -> list[str]:
        """The same when nothing runs or waits any more. Then every run must also have ended."""
        written = set(self.lines)
        live = [f"{run} has not ended" for run in self.runs if run.state in ("queued", "started")]
        live += [f"{attempt} has not ended" for attempt in self.attempts if attempt.state == "started"]
        silent = [
            f"{attempt} wrote nothing"
            for attempt in self.attempts
            if attempt.line not in written and attempt.state != "interrupted"
        ]
        ran = {run.command for run in self.runs}
        return [
            *self.broken(),
            *live,
            *silent,
            *(f"{command} never ran" for command in self.confirmed if command not in ran),
        ]

    def _lines_without_cause(self) -> Iterator[str]:
        known = {attempt.line for attempt in self.attempts}
        for line, count in Counter(self.lines).items():
            if count > 1:
                yield f"the line `{line}` stands there {count} times"
            if line not in known:
                yield f"the line `{line}` has no attempt"

    def _occurrences(self) -> Iterator[str]:
        """Every occurrence of a job is one run or is counted as missed, and a recurrent job keeps its phase."""
        runs = defaultdict(list)
        for run in self.runs:
            runs[run.job].append(run)
        jobs = {job.number: job for job in self.jobs}
        for number, its_runs in runs.items():
            its_runs.sort(key=lambda run: run.occurrence)
            ends = [0, *(run.occurrence for run in its_runs)]
            yield from (
                f"{run} does not follow {end}" for run, end in zip(its_runs, ends, strict=False) if run.first != end + 1
            )
            job = jobs.get(number)
            if job and job.occurrence != ends[-1]:
                yield f"{job} goes on after occurrence {job.occurrence}, its last run is {ends[-1]}"
            if job and job.interval_ms:
                yield from self._phase(its_runs, job.interval_ms)

    @staticmethod
    def _phase(runs: list[Run], interval_ms: int) -> Iterator[str]:
        start = runs[0].due_ms - runs[0].occurrence * interval_ms
        for run in runs:
            if run.due_ms != start + run.occurrence * interval_ms:
                yield f"{run} is out of phase"
            if run.missed_count and run.missed_since_ms != start + run.first * interval_ms:
                yield f"{run} was not missed since {run.missed_since_ms}"

    def _attempts(self) -> Iterator[str]:
        made = defaultdict(list)
        for attempt in sorted(self.attempts):
            made[attempt.job, attempt.occurrence].append(attempt.attempt)
        for run in self.runs:
            numbers = made.pop((run.job, run.occurrence), [])
            if numbers != list(range(1, run.attempts + 1)):
                yield f"{run} has the attempts {numbers}"
        yield from (f"the attempts {numbers} of {run} have no run" for run, numbers in made.items())

    def _commands(self) -> Iterator[str]:
        """A command that was sent once is at most one job, the confirmed one. A run that makes a job makes one."""
        jobs: dict[str, set[int]] = defaultdict(set)
        for command, number in [(j.command, j.number) for j in self.jobs] + [(r.command, r.job) for r in self.runs]:
            jobs[command].add(number)
        for command, numbers in jobs.items():
            if command.startswith("run note ") and len(numbers) > 1:
                yield f"`{command}` was done {len(numbers)} times: {sorted(numbers)}"
        for command, number in self.confirmed.items():
            if jobs[command] != {number}:
                yield f"`{command}` was confirmed as job {number}, but it is {sorted(jobs[command])}"
        makers = [run for run in self.runs if run.command == MAKER and run.state == "succeeded"]
        answers = Counter(number_in(run.answer or "") for run in makers)
        if answers != Counter(jobs[MADE]):
            yield f"`{MAKER}` answered {answers}, made were {sorted(jobs[MADE])}"


def number_in(job_id: str) -> int:
    """The job's number in its id, or in the id of one of its runs."""
    return int(job_id.rpartition("-")[2].partition("/")[0])


def gather(store: Path, lines: Path, confirmed: dict[str, int]) -> Evidence:
    """The store of an appliance that does not run, and the lines of its programs."""
    copy = store.with_name("copy") / store.name
    copy.parent.mkdir(exist_ok=True)
    for suffix in ("", "-wal", "-shm"):
        Path(f"{copy}{suffix}").unlink(missing_ok=True)
    for suffix in ("", "-wal"):
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(f"{store}{suffix}", f"{copy}{suffix}")
    with contextlib.closing(sqlite3.connect(copy)) as database:
        integrity = "; ".join(row[0] for row in database.execute("PRAGMA integrity_check"))
        jobs = [Job(*row) for row in database.execute(f"SELECT {_columns(Job._fields)} FROM jobs")]
        runs = [Run(*row) for row in database.execute(f"SELECT {_columns(Run._fields)} FROM runs")]
        counters, counted = (dict(database.execute(sql).fetchall()) for sql in (OF_COUNTERS, OF_ROWS))
        attempts = [Attempt(*row) for row in database.execute(f"SELECT {_columns(Attempt._fields)} FROM attempts")]
    written = lines.read_text().splitlines() if lines.exists() else []
    return Evidence(jobs, runs, attempts, integrity, written, dict(confirmed), counters, counted)


def _columns(names: Iterable[str]) -> str:
    return ", ".join(names)


def confirmed_by_result(path: Path) -> dict[str, int]:
    """By command, the jobs that the result of a drop names. The file with the commands lies beside the result."""
    result = json.loads(path.read_text())
    assert result["accepted"], result
    lines = path.with_suffix(".cmd").read_text().split("\n")
    return {command_of(lines[row["line"] - 1]): number_in(row["output"]) for row in result["results"]}


def command_of(line: str) -> str:
    """The command that ends up in the job: of `sched in 1 run x` it is `run x`."""
    return "run " + line.partition("run ")[2]
