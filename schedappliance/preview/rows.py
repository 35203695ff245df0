"""The rows of a preview, taken from the rows that the core writes about runs.

Rule: the rows are observed where the core writes them. A preview decides nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from schedappliance.engine.reasons import AFTER_EARLIER, AFTER_REPLACED, NO_PLACE, Reason
from schedappliance.engine.records import AttemptKey, Job, RunKey
from schedappliance.engine.schedule import Missed, is_late
from schedappliance.engine.states import TRANSITIONS, RunState
from schedappliance.model.calendars.calendar import DueTime
from schedappliance.store.database import Database
from schedappliance.store.jobs import Jobs
from schedappliance.store.runs import NewRun, Runs


class Mark(StrEnum):
    """The decision about a due time, or a later change of its run. A success has no mark."""

    RUN = "run"
    CATCH_UP = "catch-up"
    MISSED = "missed"
    SKIPPED = "skipped"
    QUEUED = "queued"
    REPLACES = "replaces"
    WAITS = "waits"
    FAILED = "failed"
    STARTS = "starts"
    RETRIED = "retried"
    TIMED_OUT = "timed_out"
    REPLACED = "replaced"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    STOPS = "stops"


# The mark of a due time, by the state of the claimed run, or by the reason why the run waits.
FIRST_MARKS = {
    RunState.STARTED: Mark.RUN,
    RunState.SUCCEEDED: Mark.RUN,
    RunState.FAILED: Mark.FAILED,
    RunState.SKIPPED: Mark.SKIPPED,
    RunState.MISSED: Mark.MISSED,
}
WAITING_MARKS: dict[Reason | None, Mark] = {AFTER_EARLIER: Mark.QUEUED, AFTER_REPLACED: Mark.REPLACES}
LAST_MARKS = {
    RunState.FAILED: Mark.FAILED,
    RunState.TIMED_OUT: Mark.TIMED_OUT,
    RunState.REPLACED: Mark.REPLACED,
    RunState.CANCELLED: Mark.CANCELLED,
    RunState.INTERRUPTED: Mark.INTERRUPTED,
}


class Row(NamedTuple):
    """One change at `at_ms`. `key`: the run; None if the row is about the appliance itself.

    `is_first`: the row shows the decision about the due time; each run has one such row. `catch_up`: the due time had
    passed. `missed`: earlier due times that do not run. `attempt`: the number of the attempt that starts. `again_ms`: the
    time of the next attempt. `about`: the due time of a calendar job in its zone. Instants are wall time in milliseconds.
    """

    mark: Mark
    at_ms: int
    due_ms: int
    key: RunKey | None
    declared: str | None
    command: str
    reason: str | None = None
    is_first: bool = False
    catch_up: bool = False
    missed: Missed | None = None
    attempt: int | None = None
    again_ms: int | None = None
    about: DueTime | None = None


class ObservedRuns(Runs):
    """The table of runs, which also collects the rows that the core writes.

    `now` returns the wall time. Due times before `started_ms` passed while no appliance ran.
    """

    def __init__(self, database: Database, now: Callable[[], int], started_ms: int) -> None:
        super().__init__(database)
        self._now = now
        self._started_ms = started_ms
        self._jobs = Jobs(database)
        # What is special about a due time of a job; the core knows it.
        self.explain: Callable[[Job, int], DueTime | None] = lambda _job, _due_ms: None
        self._rows: list[Row] = []
        # The places in `_rows` of the runs that wait.
        self._waiting: dict[RunKey, int] = {}
        # The first rows of the runs that have not ended, so that no later row needs a query.
        self._first: dict[RunKey, Row] = {}

    def take_rows(self) -> list[Row]:
        """The rows since the last call."""
        rows, self._rows = self._rows, []
        self._waiting.clear()
        return rows

    def add(self, job: Job, run: NewRun, now_ms: int) -> int:
        sequence = super().add(job, run, now_ms)
        self._add_first(job, run, now_ms)
        return sequence

    def record(self, job: Job, run: NewRun, now_ms: int) -> None:
        super().record(job, run, now_ms)
        self._add_first(job, run, now_ms)

    def _add_first(self, job: Job, run: NewRun, now_ms: int) -> None:
        mark = _first_mark(run)
        late = mark is not Mark.MISSED and is_late(run.due_ms, now_ms, self._started_ms)
        missed = self._missed_before(run.key) if late else run.missed
        if late and mark is Mark.RUN:
            mark = Mark.CATCH_UP
        about = self.explain(job, run.due_ms)
        row = Row(
            mark, now_ms, run.due_ms, run.key, job.declared, job.text, run.reason, True, late, missed, about=about
        )
        if run.state in TRANSITIONS:
            self._first[run.key] = row
        if mark is Mark.WAITS:
            self._waiting[run.key] = len(self._rows)
        self._rows.append(row)

    def _missed_before(self, key: RunKey) -> Missed | None:
        """The misses before a run that catches up: they are shown with the run, not in a row of their own."""
        last = self._rows[-1] if self._rows else None
        if last is None or last.mark is not Mark.MISSED or last.key != (key.job, key.occurrence - 1):
            return None
        return self._rows.pop().missed

    def start(self, key: AttemptKey) -> None:
        """Adds a row unless the first row of the run says it: the run starts at its due time, or stops waiting at once."""
        super().start(key)
        number = self._waiting.pop(key.run, None)
        if number is not None:
            row = self._rows[number]
            self._rows[number] = row._replace(mark=Mark.CATCH_UP if row.catch_up else Mark.RUN, reason=None)
            return
        row = self._row(Mark.STARTS, key.run)
        if row.at_ms != row.due_ms:
            self._rows.append(row._replace(attempt=key.attempt))

    def queue_again(self, key: RunKey, reason: Reason, retry_at_ms: int) -> int:
        self._rows.append(self._row(Mark.RETRIED, key)._replace(reason=reason, again_ms=retry_at_ms))
        return super().queue_again(key, reason, retry_at_ms)

    def end(self, key: RunKey, state: RunState, reason: Reason | None, now_ms: int, answer: str | None = None) -> None:
        super().end(key, state, reason, now_ms, answer)
        if mark := LAST_MARKS.get(state):
            self._rows.append(self._row(mark, key)._replace(reason=reason))
        self._first.pop(key, None)

    def command_of(self, key: RunKey) -> str:
        first = self._first.get(key)
        return first.command if first else self.due_and_command(key)[1]

    def _row(self, mark: Mark, key: RunKey) -> Row:
        if first := self._first.get(key):
            return Row(mark, self._now(), first.due_ms, key, first.declared, first.command)
        due_ms, command = self.due_and_command(key)
        job = self._jobs.get(key.job)
        return Row(mark, self._now(), due_ms, key, job.declared if job else None, command)


def _first_mark(run: NewRun) -> Mark:
    if run.state is RunState.SUCCEEDED and run.reason == NO_PLACE:
        # Its program takes no time, but programs of the same turn had all places.
        return Mark.WAITS
    return FIRST_MARKS.get(run.state) or WAITING_MARKS.get(run.reason, Mark.WAITS)
