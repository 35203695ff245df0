"""What the core writes about runs, as the rows of a preview. It listens where rows are stored, so it sees what is decided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from schedappliance.engine.claims import is_late
from schedappliance.engine.reasons import AFTER_EARLIER, AFTER_REPLACED, Reason
from schedappliance.engine.records import AttemptKey, Job, RunKey
from schedappliance.engine.schedule import Missed
from schedappliance.engine.states import RunState
from schedappliance.store.database import Database
from schedappliance.store.jobs import Jobs
from schedappliance.store.runs import NewRun, Runs


class Mark(StrEnum):
    """What becomes of a due time, and later of its run when that is more than its success."""

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


# How a due time is disposed of, as the state of the claimed run says it; a run that waits may wait for several reasons.
BEGINNINGS = {
    RunState.STARTED: Mark.RUN,
    RunState.SUCCEEDED: Mark.RUN,
    RunState.FAILED: Mark.FAILED,
    RunState.SKIPPED: Mark.SKIPPED,
    RunState.MISSED: Mark.MISSED,
}
WAITING: dict[Reason | None, Mark] = {AFTER_EARLIER: Mark.QUEUED, AFTER_REPLACED: Mark.REPLACES}
ENDINGS = {
    RunState.FAILED: Mark.FAILED,
    RunState.TIMED_OUT: Mark.TIMED_OUT,
    RunState.REPLACED: Mark.REPLACED,
    RunState.CANCELLED: Mark.CANCELLED,
    RunState.INTERRUPTED: Mark.INTERRUPTED,
}


@dataclass(frozen=True, slots=True)
class Row:
    """`at_ms` is when it happens. `key` None: to the appliance itself. `first`: what becomes of a due time.

    `catch_up`: the due time had passed; `missed`: due times that are not run; `attempt`: of a start; `again_ms`: when
    the next attempt is due.
    """

    mark: Mark
    at_ms: int
    due_ms: int
    key: RunKey | None
    declared: str | None
    command: str
    reason: str | None = None
    first: bool = False
    catch_up: bool = False
    missed: Missed | None = None
    attempt: int | None = None
    again_ms: int | None = None


class ToldRuns(Runs):
    """The rows of runs, told as they are written. `now` gives the wall time; what was due before `started_ms` is late."""

    def __init__(self, database: Database, now: Callable[[], int], started_ms: int) -> None:
        super().__init__(database)
        self._now = now
        self._started_ms = started_ms
        self._jobs = Jobs(database)
        self._told: list[Row] = []

    def told(self) -> list[Row]:
        """The rows of the last turn."""
        told, self._told = self._told, []
        return told

    def add(self, job: Job, run: NewRun, now_ms: int) -> int:
        sequence = super().add(job, run, now_ms)
        self._tell(job, run, now_ms)
        return sequence

    def record(self, job: Job, run: NewRun, now_ms: int) -> None:
        super().record(job, run, now_ms)
        self._tell(job, run, now_ms)

    def _tell(self, job: Job, run: NewRun, now_ms: int) -> None:
        mark = BEGINNINGS.get(run.state) or WAITING.get(run.reason, Mark.WAITS)
        late = mark is not Mark.MISSED and is_late(run.due_ms, now_ms, self._started_ms)
        missed = self._missed_before(run.key) if late else run.missed
        if late and mark is Mark.RUN:
            mark = Mark.CATCH_UP
        row = Row(mark, now_ms, run.due_ms, run.key, job.declared, job.text, run.reason, True, late, missed)
        self._told.append(row)

    def _missed_before(self, key: RunKey) -> Missed | None:
        """What was missed before a run that is made up for is told with it."""
        last = self._told[-1] if self._told else None
        if last is None or last.mark is not Mark.MISSED or last.key != (key.job, key.occurrence - 1):
            return None
        return self._told.pop().missed

    def start(self, key: AttemptKey) -> None:
        """A start is worth a row when it is not the one that was told, nor at the due time itself."""
        super().start(key)
        for number, row in enumerate(self._told):
            if row.key == key.run and row.mark is Mark.WAITS:
                mark = Mark.CATCH_UP if row.catch_up else Mark.RUN
                self._told[number] = replace(row, mark=mark, reason=None)
                return
        row = self._row(Mark.STARTS, key.run)
        if row.at_ms != row.due_ms:
            self._told.append(replace(row, attempt=key.attempt))

    def queue_again(self, key: RunKey, reason: Reason, retry_at_ms: int) -> int:
        self._told.append(replace(self._row(Mark.RETRIED, key), reason=reason, again_ms=retry_at_ms))
        return super().queue_again(key, reason, retry_at_ms)

    def end(self, key: RunKey, state: RunState, reason: Reason | None, now_ms: int, answer: str | None = None) -> None:
        super().end(key, state, reason, now_ms, answer)
        if mark := ENDINGS.get(state):
            self._told.append(replace(self._row(mark, key), reason=reason))

    def _row(self, mark: Mark, key: RunKey) -> Row:
        due_ms, command = self.due_and_command(key)
        job = self._jobs.get(key.job)
        return Row(mark, self._now(), due_ms, key, job.declared if job else None, command)
