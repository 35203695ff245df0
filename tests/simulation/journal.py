"""Every committed change of a row, in order. Temporary triggers record the changes and leave the schema as it is."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from schedappliance.engine.incidents import LATE, LEFT_OUT
from schedappliance.engine.options import Override, Place
from schedappliance.engine.records import AT_BOOT, AttemptKey, RunKey
from schedappliance.engine.states import RunState
from schedappliance.model.option_paths import Scope

LIVE = (RunState.QUEUED, RunState.STARTED)


def _key(job: int | None, occurrence: int | None) -> RunKey | None:
    return None if job is None or occurrence is None else RunKey(job, occurrence)


class JobRow(NamedTuple):
    number: int
    kind: str
    next_run_ms: int | None
    interval_ms: int | None
    occurrence: int
    command: str
    origin: str
    declared: str | None
    schedule: str | None
    enabled: int
    paused: int
    failed_job: int | None = None
    failed_occurrence: int | None = None

    @property
    def failed(self) -> RunKey | None:
        """The run whose failure this row answers."""
        return _key(self.failed_job, self.failed_occurrence)

    @property
    def boot_delay_ms(self) -> int | None:
        """The delay of a job of `at = boot`; None for another job."""
        text = self.schedule or ""
        return int(text.rpartition(" ")[2]) if text.startswith(AT_BOOT) else None


class RunRow(NamedTuple):
    job: int
    occurrence: int
    sequence: int
    due_ms: int
    state: str
    reason: str | None
    missed_count: int | None
    command: str
    origin: str
    attempts: int
    retry_at_ms: int | None
    failed_job: int | None = None
    failed_occurrence: int | None = None
    uid: int = 0

    @property
    def key(self) -> RunKey:
        return RunKey(self.job, self.occurrence)

    @property
    def program(self) -> str | None:
        """The program of the run, None for an internal command."""
        words = self.command.split()
        return words[1] if words[0] == "run" else None

    @property
    def failed(self) -> RunKey | None:
        """The run whose failure this row answers."""
        return _key(self.failed_job, self.failed_occurrence)


class AttemptRow(NamedTuple):
    job: int
    occurrence: int
    attempt: int
    program: str
    state: str
    started_boot_ms: int
    stopped_by: str | None = None
    boot_id: str = ""
    started_ms: int = 0
    ended_ms: int | None = None
    took_ms: int | None = None

    @property
    def key(self) -> AttemptKey:
        return AttemptKey(RunKey(self.job, self.occurrence), self.attempt)


class DropRow(NamedTuple):
    mark: str
    accepted: int
    result: str


class OverrideRow(NamedTuple):
    scope: str
    instance: str
    option: str
    name: str
    value: str
    base: str | None

    @property
    def place(self) -> Place:
        return Place(Scope(self.scope, self.instance), self.option)

    @property
    def override(self) -> Override:
        return Override(self.place, self.name, self.value, self.base)


class IncidentRow(NamedTuple):
    number: int
    notify: str
    subject: str
    job: int
    told_ms: int | None


class AlertRow(NamedTuple):
    sequence: int
    job: int
    notify: str
    event: str

    @property
    def kind(self) -> str:
        return str(json.loads(self.event)["kind"])

    @property
    def stands_for(self) -> int:
        """How many events it stands for."""
        return int(json.loads(self.event)["count"]) if self.kind == LEFT_OUT else 1

    @property
    def late(self) -> RunKey | None:
        """The run that is late; None for another event."""
        event = json.loads(self.event)
        if event["kind"] != LATE:
            return None
        job, occurrence = event["run"]["run"].rpartition("-")[2].split("/")
        return RunKey(int(job), int(occurrence))

    @property
    def incident(self) -> int:
        return int(json.loads(self.event)["incident"])

    @property
    def is_reminder(self) -> bool:
        return bool(json.loads(self.event)["reminder"])


class CounterRow(NamedTuple):
    name: str
    labels: str
    value: int


Row: TypeAlias = JobRow | RunRow | AttemptRow | DropRow | OverrideRow | IncidentRow | AlertRow | CounterRow
TABLES: dict[str, type[Row]] = {
    "jobs": JobRow,
    "runs": RunRow,
    "attempts": AttemptRow,
    "drops": DropRow,
    "overrides": OverrideRow,
    "incidents": IncidentRow,
    "alerts": AlertRow,
    "counters": CounterRow,
}


class Change(NamedTuple):
    """A row before and after a change. `old` is None for an added row, `new` for a removed row."""

    old: Row | None
    new: Row | None


def install(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("CREATE TEMP TABLE journal (id INTEGER PRIMARY KEY, name TEXT, old TEXT, new TEXT)")
    for table, row in TABLES.items():
        old, new = (f"json_array({', '.join(f'{which}.{name}' for name in row._fields)})" for which in ("OLD", "NEW"))
        for event, before, after in (("INSERT", "NULL", new), ("UPDATE", old, new), ("DELETE", old, "NULL")):
            connection.execute(
                f"CREATE TEMP TRIGGER journal_{table}_{event} AFTER {event} ON {table} BEGIN "
                f"INSERT INTO journal (name, old, new) VALUES ('{table}', {before}, {after}); END"
            )


def drain(connection: sqlite3.Connection) -> list[Change]:
    """The changes that were committed since the last call."""
    assert not connection.in_transaction
    written = connection.execute("SELECT name, old, new FROM journal ORDER BY id").fetchall()
    if written:
        connection.execute("DELETE FROM journal")
    return [Change(_row(name, old), _row(name, new)) for name, old, new in written]


def _row(table: str, values: str | None) -> Row | None:
    return None if values is None else TABLES[table](*json.loads(values))


@dataclass(slots=True)
class Rows:
    """The rows of the store, followed change by change."""

    jobs: dict[int, JobRow] = field(default_factory=dict)
    runs: dict[RunKey, RunRow] = field(default_factory=dict)
    attempts: dict[AttemptKey, AttemptRow] = field(default_factory=dict)
    drops: dict[str, DropRow] = field(default_factory=dict)
    overrides: dict[Place, OverrideRow] = field(default_factory=dict)
    incidents: dict[int, IncidentRow] = field(default_factory=dict)
    alerts: dict[int, AlertRow] = field(default_factory=dict)
    counters: dict[tuple[str, str], CounterRow] = field(default_factory=dict)
    live: dict[RunKey, RunRow] = field(default_factory=dict)
    started: dict[AttemptKey, AttemptRow] = field(default_factory=dict)

    def apply(self, change: Change) -> None:
        match change:
            case Change(_, JobRow() as row):
                self.jobs[row.number] = row
            case Change(JobRow() as row, None):
                del self.jobs[row.number]
            case Change(_, RunRow() as row):
                self.runs[row.key] = row
                self._lives(row, row.state in LIVE)
            case Change(RunRow() as row, None):
                del self.runs[row.key]
            case Change(_, AttemptRow() as row):
                self.attempts[row.key] = row
                self._runs(row, row.state == RunState.STARTED)
            case Change(AttemptRow() as row, None):
                del self.attempts[row.key]
                self._runs(row, False)
            case Change(_, DropRow() as row):
                self.drops[row.mark] = row
            case Change(_, OverrideRow() as row):
                self.overrides[row.place] = row
            case Change(OverrideRow() as row, None):
                del self.overrides[row.place]
            case Change(_, IncidentRow() as row):
                self.incidents[row.number] = row
            case Change(IncidentRow() as row, None):
                del self.incidents[row.number]
            case Change(_, AlertRow() as row):
                self.alerts[row.sequence] = row
            case Change(AlertRow() as row, None):
                del self.alerts[row.sequence]
            case Change(_, CounterRow() as row):
                self.counters[row.name, row.labels] = row
            case Change(CounterRow() as row, None):
                del self.counters[row.name, row.labels]

    def _lives(self, run: RunRow, lives: bool) -> None:
        if lives:
            self.live[run.key] = run
        else:
            self.live.pop(run.key, None)

    def _runs(self, attempt: AttemptRow, runs: bool) -> None:
        if runs:
            self.started[attempt.key] = attempt
        else:
            self.started.pop(attempt.key, None)

    def live_of(self, job: int) -> list[RunRow]:
        return [run for run in self.live.values() if run.job == job]

    def needed(self) -> set[RunKey]:
        """The runs whose failure a job or a run must still answer."""
        answers: list[JobRow | RunRow] = [*self.jobs.values(), *self.live.values()]
        return {failed for answer in answers if (failed := answer.failed) is not None}

    def queued(self) -> list[RunRow]:
        """The queued runs in the order of their claims."""
        waiting = (run for run in self.live.values() if run.state == RunState.QUEUED)
        return sorted(waiting, key=lambda run: run.sequence)


def stored(connection: sqlite3.Connection) -> dict[str, set[Row]]:
    """The rows as the store holds them."""
    return {
        table: {row(*values) for values in connection.execute(f"SELECT {', '.join(row._fields)} FROM {table}")}
        for table, row in TABLES.items()
    }


def followed(rows: Rows) -> dict[str, set[Row]]:
    """The same for rows that were followed."""
    return {
        "jobs": set(rows.jobs.values()),
        "runs": set(rows.runs.values()),
        "attempts": set(rows.attempts.values()),
        "drops": set(rows.drops.values()),
        "overrides": set(rows.overrides.values()),
        "incidents": set(rows.incidents.values()),
        "alerts": set(rows.alerts.values()),
        "counters": set(rows.counters.values()),
    }
