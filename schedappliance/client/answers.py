"""What the appliance answers: one frozen dataclass for each form of data, with the names of the protocol.

Rule: a field that ends in `_ms` is in milliseconds, an instant since 1970. A property of the same name without `_ms`
is the instant as a `datetime` in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

RunState = Literal[
    "queued",
    "started",
    "succeeded",
    "failed",
    "timed_out",
    "interrupted",
    "replaced",
    "cancelled",
    "skipped",
    "missed",
]
JobState = Literal["waiting", "paused", "disabled in its file", "done", "gone"]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant_of(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)


def instant_or_none(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else instant_of(milliseconds)


@dataclass(frozen=True)
class Diagnostic:
    """A mistake, and its place: lines and columns count from 1."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int
    code: str
    severity: Literal["error", "warning"]
    message: str
    help: str


@dataclass(frozen=True)
class NewJob:
    """The job that a scheduling command has made: `sched at`, `in`, `every`, `cron` and `calendar`."""

    id: str
    next_run_ms: int

    @property
    def next_run(self) -> datetime:
        return instant_of(self.next_run_ms)


@dataclass(frozen=True)
class Job:
    """A row of `sched list`: a job that has a next due time."""

    id: str
    name: str | None
    next_run_ms: int
    recurrent: bool
    interval_ms: int | None
    calendar: tuple[str, ...] | None
    zone: str | None
    command: str
    user: str
    origin: str
    paused: bool

    @property
    def next_run(self) -> datetime:
        return instant_of(self.next_run_ms)


@dataclass(frozen=True)
class Run:
    """A run, as `sched history` lists it. `run` is its id, and `id` is the id of its job."""

    run: str
    sequence: int
    id: str
    name: str | None
    occurrence: int
    due_ms: int
    state: RunState
    reason: str | None
    missed: int | None
    missed_since_ms: int | None
    command: str
    user: str
    origin: str
    attempts: int
    claimed_ms: int | None
    program: str | None
    started_ms: int | None
    ended_ms: int | None
    took_ms: int | None
    exit_status: int | None
    exit_signal: int | None
    cpu_ms: int | None
    memory_bytes: int | None
    has_output: bool
    on_failure_of: str | None

    @property
    def due(self) -> datetime:
        return instant_of(self.due_ms)

    @property
    def started(self) -> datetime | None:
        return instant_or_none(self.started_ms)

    @property
    def ended(self) -> datetime | None:
        return instant_or_none(self.ended_ms)

    @property
    def succeeded(self) -> bool:
        return self.state == "succeeded"

    @property
    def is_live(self) -> bool:
        """Whether the run waits, or its program runs."""
        return self.state in ("queued", "started")


@dataclass(frozen=True)
class Attempt:
    """One start of the program of a run."""

    attempt: int
    state: RunState
    reason: str | None
    started_ms: int | None
    ended_ms: int | None
    took_ms: int | None
    exit_status: int | None
    exit_signal: int | None
    cpu_ms: int | None
    memory_bytes: int | None
    output: str | None
    output_bytes: int | None


@dataclass(frozen=True)
class RunDetails(Run):
    """A run with its output and its last attempts, as `sched show RUN` describes it."""

    output: str | None
    attempts_made: tuple[Attempt, ...]


@dataclass(frozen=True)
class JobDetails:
    """A job, also one that is done or deleted, as `sched show JOB` describes it."""

    id: str
    name: str | None
    command: str
    next_run_ms: int | None
    interval_ms: int | None
    at_boot: bool
    calendar: tuple[str, ...] | None
    zone: str | None
    words: str | None
    state: JobState
    user: str
    uid: int | None
    origin: str
    declared: str | None
    on_failure_of: str | None
    occurrences: int
    last_run: Run | None
    output: str | None

    @property
    def next_run(self) -> datetime | None:
        return instant_or_none(self.next_run_ms)


@dataclass(frozen=True)
class NewRun:
    """The run that `run` or `sched run` has made. A run whose state is not known yet has the state `None`."""

    run: str
    state: RunState | None = None
    reason: str | None = None


@dataclass(frozen=True)
class EndedRun:
    """A run that has ended, as `sched wait` and `run --wait` describe it; `run --wait` adds the output."""

    run: str
    state: RunState
    reason: str | None
    exit_status: int | None
    output: str | None = None


@dataclass(frozen=True)
class StoppedRun:
    """The answer of `sched stop`: the run is cancelled, or its program is being ended.

    `stored` False: the store cannot be written, so a start of the appliance before that may try the run again.
    """

    run: str
    state: Literal["started", "cancelled"]
    stored: bool


@dataclass(frozen=True)
class OutputPart:
    """A part of an output, in bytes that the program wrote. It has `text` or, after `as base64`, `base64`."""

    run: str
    attempt: int | None
    begin: int = field(metadata={"key": "from"})
    next: int
    size: int
    ended: bool
    truncated: bool
    state: RunState
    attempts: int
    text: str | None = None
    base64: str | None = None


@dataclass(frozen=True)
class DeletedJob:
    """The answer of `sched delete`."""

    id: str
    deleted: bool


@dataclass(frozen=True)
class PausedJob:
    """The answer of `sched pause` and `sched resume` about one job; `missed` and `next_run_ms` after `resume`."""

    id: str
    name: str | None
    was_paused: bool
    paused: bool
    missed: int | None = None
    next_run_ms: int | None = None


@dataclass(frozen=True)
class PausedJobs:
    """The answer of `sched pause` and `sched resume` about a pattern or `--all`; `jobs` holds the first names."""

    paused: bool
    changed: int
    unchanged: int | None
    missed: int
    jobs: tuple[str, ...]


@dataclass(frozen=True)
class Hold:
    """Since when nothing new starts, who said so, and why. `ends_ms`: the planned end; None: it lasts until the release."""

    since_ms: int
    user: str
    reason: str | None
    ends_ms: int | None = None

    @property
    def since(self) -> datetime:
        return instant_of(self.since_ms)

    @property
    def ends(self) -> datetime | None:
        return None if self.ends_ms is None else instant_of(self.ends_ms)


@dataclass(frozen=True)
class Held:
    """The answer of `sched hold`. `running`: how many programs go on."""

    held: Hold
    was_held: bool
    running: int


@dataclass(frozen=True)
class Released:
    """The answer of `sched release`. `was`: the hold that has ended."""

    held: None
    was_held: bool
    was: Hold | None


@dataclass(frozen=True)
class Incident:
    """A job that has failed and not recovered. `id`: of the job; None for the runs of a program without a recurrent job.

    `told_ms`: when an alert of it was delivered last. `delivery`: the id of the job that has to deliver its last alert, or,
    with `delivery_failed`, that could not.
    """

    incident: int
    notify: str
    subject: str
    id: str | None
    kind: str
    count: int
    since_ms: int
    last_ms: int
    last_run: str | None
    told_ms: int | None
    delivery: str | None
    delivery_failed: bool
    remind_ms: int | None
    acked_ms: int | None
    acked_by: str | None

    @property
    def since(self) -> datetime:
        return instant_of(self.since_ms)


@dataclass(frozen=True)
class Incidents:
    """The answer of `sched incidents`. `undelivered`: how many alerts are not delivered yet."""

    incidents: tuple[Incident, ...]
    undelivered: int


@dataclass(frozen=True)
class Acknowledged:
    """The answer of `sched ack`."""

    incidents: tuple[Incident, ...]


@dataclass(frozen=True)
class DueTime:
    """A due time of a job. `due` is a text in UTC."""

    due: str
    due_ms: int
    note: str | None


@dataclass(frozen=True)
class NextDueTimes:
    """The answer of `sched next`."""

    id: str
    name: str | None
    next: tuple[DueTime, ...]


@dataclass(frozen=True)
class WhyJob:
    """The answer of `sched why JOB`: sentences about what is next, what runs now, and what was.

    `usual_ms`: the median duration of the last five runs that succeeded; null with fewer than three of them.
    """

    id: str
    name: str | None
    state: JobState
    next_run_ms: int | None
    interval_ms: int | None
    held: Hold | None
    calendar: tuple[str, ...] | None
    zone: str | None
    words: str | None
    live: tuple[Run, ...]
    last_run: Run | None
    last_not_done: Run | None
    usual_ms: int | None
    next: tuple[str, ...]
    now: tuple[str, ...]
    past: tuple[str, ...]


@dataclass(frozen=True)
class WhyRun(Run):
    """The answer of `sched why RUN`. `usual_ms`: as in WhyJob, of the runs of its job before it."""

    now: tuple[str, ...]
    past: tuple[str, ...]
    usual_ms: int | None


@dataclass(frozen=True)
class Health:
    """What is wrong. `ready`: commands and programs can run."""

    live: bool
    ready: bool
    troubles: tuple[str, ...]
    held: Hold | None


@dataclass(frozen=True)
class Summary:
    """The statistics. There is a count `runs_STATE` for each state in which runs have ended.

    Counts of jobs and drops are null where the store cannot be read, and those of drops without a spool.
    """

    jobs: int | None
    jobs_paused: int | None
    jobs_switched_off: int | None
    programs_running: int
    runs_queued: int
    commands: int
    drops: int
    spool_waiting: int | None
    spool_in_progress: int | None
    spool_done: int | None
    spool_failed: int | None
    held: Hold | None
    degraded: str | None
    data_loss: str | None
    store: str
    configuration: str
    statistics_last_reset_s: int
    uptime_s: int
    started_ms: int
    ready: bool
    runs_succeeded: int = 0
    runs_failed: int = 0
    runs_timed_out: int = 0
    runs_interrupted: int = 0
    runs_replaced: int = 0
    runs_cancelled: int = 0
    runs_skipped: int = 0
    runs_missed: int = 0


@dataclass(frozen=True)
class Version:
    """The answer of `version`."""

    version: str


@dataclass(frozen=True)
class Pid:
    """The answer of `pid`."""

    pid: int


@dataclass(frozen=True)
class HelpEntry:
    """A row of `help`."""

    usage: str
    help: str


@dataclass(frozen=True)
class DropLine:
    """The answer to a line of a drop: `output`, or `data` after `json`. `error`: its run was skipped, or has failed.

    `line`: its number; a result of an earlier version has none.
    """

    line: int | None = None
    output: str | None = None
    data: Any = None
    error: str | None = None


@dataclass(frozen=True)
class DropResult:
    """The result of a drop. `repeats`: the file with the same token that was accepted before."""

    file: str
    accepted: bool
    user: str
    results: tuple[DropLine, ...]
    diagnostics: tuple[Diagnostic, ...]
    more_diagnostics: int | None = None
    repeats: str | None = None


@dataclass(frozen=True)
class Response:
    """The response to a request. It has `output` or, after `json COMMAND`, `data`."""

    v: Literal[1]
    id: Any
    ok: bool
    transaction: bool
    output: str | None = None
    data: Any = None
    note: str | None = None
    next: str | None = None
    exit_status: int | None = None
    error: str | None = None
    verbatim: bool | None = None
    diagnostics: tuple[Diagnostic, ...] = ()
