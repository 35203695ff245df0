"""The counters in the store are what has happened: also before restarts and kills, and to runs whose rows are gone."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

from schedappliance.engine.states import RunState
from tests.simulation.journal import LIVE, AttemptRow, Change, CounterRow, JobRow, Rows, RunRow
from tests.simulation.view import Past

OfTheStore = Callable[[sqlite3.Connection, Past], Iterator[str]]


def follow(past: Past, rows: Rows, change: Change) -> Iterator[str]:
    """Counts the ends of attempts, and those of the runs of declared jobs. `rows`: as they were before the change.

    Yields each counter that goes back. A start may forget those of a program that is not declared any more.
    """
    match change:
        case Change(AttemptRow(state=RunState.STARTED), AttemptRow() as attempt):
            past.ended_attempts[attempt.program, attempt.state] += attempt.state != RunState.STARTED
        case Change(old, RunRow() as run) if run.state not in LIVE:
            job = rows.jobs.get(run.job)
            is_end = not isinstance(old, RunRow) or old.state in LIVE
            if job is not None and job.declared is not None and is_end:
                past.ended_of[run.job, run.state] += 1
        case Change(JobRow() as job, None):
            for key in [key for key in past.ended_of if key[0] == job.number]:
                del past.ended_of[key]
        case Change(CounterRow(name="attempts_total") as counter, None):
            program = json.loads(counter.labels)[0]
            for attempts in [key for key in past.ended_attempts if key[0] == program]:
                del past.ended_attempts[attempts]
        case Change(CounterRow() as before, CounterRow() as after) if after.value <= before.value:
            yield f"{before} becomes {after}"


def _counted(connection: sqlite3.Connection) -> dict[str, Counter[str]]:
    """The counters by their names, and by the state that their labels name."""
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    for name, labels, value in connection.execute("SELECT name, labels, value FROM counters"):
        counted[name][next(iter(json.loads(labels)), "")] += value
    return counted


def ended_runs_are_counted_once(connection: sqlite3.Connection, past: Past) -> Iterator[str]:
    ends: Counter[str] = Counter()
    for (_, state), number in past.moves.items():
        if state not in LIVE:
            ends[str(state)] += number
    if (counted := _counted(connection)["runs_total"]) != ends:
        yield f"{counted} is not {ends}"


def missed_due_times_are_counted_once(connection: sqlite3.Connection, past: Past) -> Iterator[str]:
    if (counted := _counted(connection)["due_times_missed_total"][""]) != past.ends[RunState.MISSED]:
        yield f"{counted} is not {past.ends[RunState.MISSED]}"


def ended_attempts_are_counted_once(connection: sqlite3.Connection, past: Past) -> Iterator[str]:
    """An attempt that was not started has no row. One that a signal ended is a failed one."""
    counted: Counter[tuple[str, str]] = Counter()
    for labels, value in connection.execute("SELECT labels, value FROM counters WHERE name = 'attempts_total'"):
        program, result = json.loads(labels)
        if result != "not_started":
            counted[program, "failed" if result == "signal" else result] += value
    if counted != past.ended_attempts:
        yield f"{counted} is not {past.ended_attempts}"


def ends_of_a_declared_job_are_counted_once(connection: sqlite3.Connection, past: Past) -> Iterator[str]:
    counted = Counter(
        {(job, state): n for job, state, n in connection.execute("SELECT job, state, number FROM ended_runs")}
    )
    if counted != past.ended_of:
        yield f"{counted - past.ended_of} too many, {past.ended_of - counted} too few"


OF_THE_STORE: tuple[OfTheStore, ...] = (
    ended_runs_are_counted_once,
    missed_due_times_are_counted_once,
    ended_attempts_are_counted_once,
    ends_of_a_declared_job_are_counted_once,
)
