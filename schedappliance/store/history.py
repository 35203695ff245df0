"""The rows of the history, and the search for those that are wanted.

Rule: a search takes small steps, between which others have their turn.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, NamedTuple

from schedappliance.engine.records import RunKey
from schedappliance.store.database import Database, Table, fetch_page

# No due time comes before the first or after the last. A machine that boots without a clock may have some before 1970.
FIRST, LAST = -(2**63), 2**63 - 1
# One search examines at most this many rows of the history, or of one job, whose rows are far apart: 25 ms.
EXAMINED_AT_ONCE, EXAMINED_OF_JOB = 200_000, 40_000
# A step examines at most a hundredth of them, and reads at most so many rows with so many characters of commands.
STEPS, STEP_ROWS, STEP_CHARACTERS = 100, 100, 1 << 16
# After the rows that are listed, at most this many are counted: 1 ms, if all are wanted.
MORE_COUNTED = 10_000
# One list has at most this many characters of commands, and the last command: a thousand of 64 KiB are 64 MB.
MOST_CHARACTERS = 1 << 20


class PastRun(NamedTuple):
    """A row of the history. `sequence`: its place in the order of claims. `program`, `started_ms` and what
    the program took (`cpu_ms`, `memory_bytes`, `took_ms`: as in Exit): of its last attempt. `started_boot_ms`: when that
    began, in boot time.

    `has_output`: the store holds an output of an attempt, or the answer of a command. `name`: of its job, while it
    is declared.
    """

    sequence: int
    key: RunKey
    due_ms: int
    state: str
    reason: str | None
    missed_count: int | None
    missed_since_ms: int | None
    command: str
    user: str
    uid: int
    origin: str
    attempts: int
    claimed_ms: int
    ended_ms: int | None
    program: str | None
    started_ms: int | None
    exit_status: int | None
    exit_signal: int | None
    cpu_ms: int | None
    memory_bytes: int | None
    took_ms: int | None
    started_boot_ms: int | None
    has_output: bool
    name: str | None
    on_failure_of: RunKey | None


# Job and occurrence are columns of their own.
_COMMAND = PastRun._fields.index("command") + 1


class RunFilter(NamedTuple):
    """Which runs are wanted: of a job (None: of all), in one of these states (empty: any), due from `since_ms` to `until_ms`.

    `active_ms`: only those that had not ended before; None: any.
    """

    job: int | None
    states: tuple[str, ...]
    since_ms: int
    until_ms: int
    active_ms: int | None = None


class FoundRuns:
    """The last runs that are wanted, the newest first, of those that were claimed before a run: of the wanted job, if there is one.

    Rows are read while one iterates. None follows each step. After the iteration, `last` is the last run, `more` how many
    follow (MORE_COUNTED if there may be more than that), and runs before `first_examined` were not examined; None if all were.
    """

    def __init__(
        self,
        database: Callable[[], AbstractContextManager[Database]],
        wanted: RunFilter,
        before: PastRun | None,
        limit: int,
    ) -> None:
        self._open, self._wanted, self._before, self._limit = database, wanted, before, limit
        self.last: RunKey | None = None
        self.more = 0
        self.first_examined: RunKey | None = None

    def __iter__(self) -> Iterator[PastRun | None]:
        with self._open() as database:
            search = _Search(database, self._wanted)
            begin, end = search.places(self._before)
            rows, characters = self._limit, MOST_CHARACTERS
            while begin < end and rows > 0 and characters >= 0:
                runs, end = search.runs(begin, end, min(rows, STEP_ROWS), min(characters, STEP_CHARACTERS))
                yield from runs
                self.last = runs[-1].key if runs else self.last
                rows -= len(runs)
                characters -= sum(len(run.command) for run in runs)
                yield None
            while begin < end and self.more < MORE_COUNTED and (rows == 0 or characters < 0):
                number, end = search.count(begin, end, MORE_COUNTED - self.more)
                self.more += number
                yield None
            self.first_examined = search.first_examined(begin)


class _Search(Table):
    """The steps of a search. Places are those in the order of claims: of all runs, or of those of the wanted job."""

    file = "runs"

    def __init__(self, database: Database, wanted: RunFilter) -> None:
        super().__init__(database)
        self._job = wanted.job
        self._suffix = "" if wanted.job is None else "_of_job"
        self._of_job = () if wanted.job is None else (wanted.job,)
        self._most_examined = EXAMINED_AT_ONCE if wanted.job is None else EXAMINED_OF_JOB
        states = json.dumps(wanted.states) if wanted.states else None
        self._sought = states, wanted.since_ms, wanted.until_ms, wanted.active_ms

    def places(self, before: PastRun | None) -> tuple[int, int]:
        """The first place to be examined, and the place after the last one.

        The last place has a run, so that each search examines some, however many places before it are empty.
        """
        limit = LAST if before is None else self._place(before)
        last = self._read("last_place", limit)[0][0]
        return (0, 0) if last is None else (max(0, last + 1 - self._most_examined), last + 1)

    def runs(self, begin: int, end: int, most: int, most_characters: int) -> tuple[list[PastRun], int]:
        """The last wanted runs of a range of places, and the place before which the search goes on."""
        start = self._start(begin, end)
        fetch = partial(fetch_page, most_characters, (_COMMAND,))
        runs = [past_run(row) for row in self._read("selected_runs", start, end, *self._sought, most, fetch=fetch)]
        is_full = len(runs) == most or sum(len(run.command) for run in runs) > most_characters
        return runs, self._place(runs[-1]) if is_full else start

    def count(self, begin: int, end: int, most: int) -> tuple[int, int]:
        """The number of wanted runs of a range of places, at most so many, and the place before which the search goes on."""
        start = self._start(begin, end)
        return self._read("count_selected_runs", start, end, *self._sought, most)[0][0], start

    def first_examined(self, begin: int) -> RunKey | None:
        """The first run from a place on, if there are runs before that place."""
        rows = self._read("first_examined", begin) if begin else []
        return RunKey(*rows[0]) if rows else None

    def _start(self, begin: int, end: int) -> int:
        """The first place of the last step of a range."""
        return max(begin, end - max(1, self._most_examined // STEPS))

    def _place(self, run: PastRun) -> int:
        return run.sequence if self._job is None else run.key.occurrence

    def _read(
        self, name: str, *parameters: Any, fetch: Callable[[sqlite3.Cursor], list[Any]] = sqlite3.Cursor.fetchall
    ) -> list[Any]:
        return self._database.rows(self._sql[name + self._suffix], (*parameters, *self._of_job), fetch)


def past_run(row: Any) -> PastRun:
    """A row of the view `run_history`."""
    sequence, job, occurrence, *columns, has_output, name, failed_job, failed_occurrence = row
    on_failure_of = key_of(failed_job, failed_occurrence)
    return PastRun._make((sequence, RunKey(job, occurrence), *columns, bool(has_output), name, on_failure_of))


def key_of(job: int | None, occurrence: int | None) -> RunKey | None:
    return RunKey(job, occurrence) if job is not None and occurrence is not None else None
