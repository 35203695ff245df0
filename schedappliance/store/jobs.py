"""The rows of jobs. Rule: the number of a job is never used again, and `jobs_by_next_run` finds due jobs in order."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from schedappliance.engine.records import (
    NONE_UNCLAIMABLE,
    Job,
    NewJob,
    RunKey,
    UnclaimableJobs,
    User,
    job_number,
)
from schedappliance.model.commands import Command, pack, unpack
from schedappliance.store.database import Table, fetch_page
from schedappliance.syntax.grammars import GRAMMAR_VERSION

if TYPE_CHECKING:
    from schedappliance.engine.declared import Change

# With this many jobs, rebuilding the index is faster than moving its entries; see `Jobs._move`.
MANY = 10_000
# The last number that SQLite gives.
LAST_NUMBER = 2**63 - 1
# The last number that was given, among the counts: asking SQLite for each new job takes as long as a tenth of adding it.
LAST = "last_job"
# How often declared jobs were written otherwise than by `advance`, among the counts, so that a rollback undoes it.
REWRITES = "rewritten_jobs"


# The place of a job in the list: its next run and its number.
Place = tuple[int, int]
# The columns of a listed job that may be long.
_COMMAND_AND_CALENDAR = (3, 9)
# Below all jobs: a machine that boots without a clock may have due times before 1970.
BEFORE_ALL: Place = (-(2**63), -1)


class ListedJob(NamedTuple):
    """A row of `sched list`. `calendar`: the text of a calendar, None for a job of another kind."""

    number: int
    next_run_ms: int
    interval_ms: int | None
    command: str
    user: User
    origin: str
    declared: str | None
    paused: bool
    calendar: str | None

    @property
    def place(self) -> Place:
        return self.next_run_ms, self.number

    @property
    def recurrent(self) -> bool:
        return self.interval_ms is not None or self.calendar is not None


class NamedJob(NamedTuple):
    """A job by its number and its name; None for one that is not declared."""

    number: int
    declared: str | None
    paused: bool


class DeclaredColumns(NamedTuple):
    """The declared jobs, and the numbers of those that are paused or switched off: arrays in JSON, as `metrics` hands them over."""

    number: str
    name: str
    interval_ms: str
    next_run_ms: str
    paused: str
    off: str


class Census(NamedTuple):
    """How many jobs there are, and how many of them are paused, are disabled or done (`off`), or are due later."""

    total: int
    paused: int
    off: int
    later: int


class Jobs(Table):
    file = "jobs"

    def add(self, job: NewJob, now_ms: int) -> int:
        """Stores a job and returns its number."""
        cursor = self._database.execute(
            self._sql["add_job"],
            (
                job.kind,
                job.next_run_ms,
                job.interval_ms,
                job.command.text,
                pack(job.command),
                GRAMMAR_VERSION,
                job.user.uid,
                job.user.name,
                job.origin,
                job.declared,
                job.schedule,
                job.enabled,
                now_ms,
                _program(job.command),
                *(job.on_failure_of or (None, None)),
            ),
        )
        assert cursor.lastrowid is not None
        counts = self._database.counts
        if "jobs" in counts:
            counts["jobs"] += 1
        if job.user.uid:
            self._database.batch.users[self._sql["count_rows"]][job.user.uid] += 1
        if job.declared is not None:
            self._note_rewrite()
        counts[LAST] = cursor.lastrowid
        self._database.note_change(cursor.lastrowid)
        return cursor.lastrowid

    def due(self, now_ms: int, limit: int, unclaimable: UnclaimableJobs = NONE_UNCLAIMABLE) -> list[Job]:
        """The jobs that are due, in the order (next run, number)."""
        if unclaimable == NONE_UNCLAIMABLE:
            return list(map(_job, self._database.rows(self._sql["due_jobs"], (now_ms, limit))))
        users, numbers = map(json.dumps, unclaimable)
        return list(map(_job, self._database.rows(self._sql["due_jobs_but"], (now_ms, users, numbers, limit))))

    def next_due(self, unclaimable: UnclaimableJobs = NONE_UNCLAIMABLE, until_ms: int | None = None) -> int | None:
        """When the next job is due, in wall milliseconds; None if none is planned.

        `until_ms`: the search ends there if users are unclaimable, and this is the answer if nothing was found.
        """
        if unclaimable == NONE_UNCLAIMABLE:
            row = self._database.row(self._sql["next_due"])
            return int(row[0]) if row else None
        until_ms = until_ms if unclaimable.uids else None
        last = LAST_NUMBER if until_ms is None else until_ms
        row = self._database.row(self._sql["next_due_but"], (*map(json.dumps, unclaimable), last))
        return int(row[0]) if row else until_ms

    def count_due(self, at_ms: int, limit: int) -> int:
        """How many jobs will be due at an instant, at most `limit`. Jobs that cannot be claimed then count too."""
        return int(self._database.row(self._sql["count_due"], (at_ms, limit))[0])

    def get(self, number: int) -> Job | None:
        row = self._database.row(self._sql["job"], (number,))
        return _job(row) if row else None

    def number_of(self, declared: str) -> int | None:
        """The number of a declared job, by its name."""
        row = self._database.row(self._sql["number_of"], (declared,))
        return int(row[0]) if row else None

    def meant_by(self, node: str, text: str) -> int | None:
        """The number in a job id, even if no such job exists. Any other text is the name of a declared job."""
        number = job_number(node, text)
        return self.number_of(text) if number is None else number

    def declared(self) -> list[Job]:
        return [_job(row) for row in self._database.rows(self._sql["declared_jobs"])]

    def declared_as(self, names: Sequence[str]) -> list[Job]:
        """The declared jobs with these names."""
        return [_job(row) for row in self._database.rows(self._sql["declared_as"], (json.dumps(names),))]

    def page(
        self, after: Place, limit: int, paused: bool = False, most_characters: int | None = None
    ) -> list[ListedJob]:
        """The next rows of the list after (next run, number), either of the waiting jobs or of the paused ones.

        `most_characters`: the page ends with the row that exceeds them; None: they are not counted.
        """
        sql = self._sql["list_paused" if paused else "list_jobs"]
        fetch = (
            sqlite3.Cursor.fetchall
            if most_characters is None
            else partial(fetch_page, most_characters, _COMMAND_AND_CALENDAR)
        )
        rows = self._database.rows(sql, (*after, limit), fetch)
        return [
            ListedJob(number, next_run, interval, command, User(uid, user), origin, declared, bool(is_paused), calendar)
            for number, next_run, interval, command, uid, user, origin, declared, is_paused, calendar in rows
        ]

    def total(self) -> int:
        """How many jobs there are. They are counted once, since counting a million takes 60 ms and each `sched` asks."""
        counts = self._database.counts
        if "jobs" not in counts:
            counts["jobs"] = int(self._database.row(self._sql["count_all"])[0])
        return counts["jobs"]

    def of_user(self, uid: int) -> int:
        """How many jobs a user has who is not root."""
        row = self._database.row(self._sql["jobs_of_user"], (uid,))
        return (row[0] if row else 0) + self._database.batch.users[self._sql["count_rows"]][uid]

    def _count_removed(self, uid: int) -> None:
        counts = self._database.counts
        if "jobs" in counts:
            counts["jobs"] -= 1
        if uid:
            self._database.batch.users[self._sql["count_rows"]][uid] -= 1

    def count(self) -> int:
        """How many jobs are waiting or paused. Declared jobs that are disabled or done do not count."""
        return self.total() - int(self._database.row(self._sql["count_unplanned"])[0])

    def count_paused_and_disabled(self) -> tuple[int, int]:
        """How many of them are paused, and how many declared jobs are switched off."""
        paused, disabled = self._database.row(self._sql["count_paused_and_disabled"])
        return int(paused), int(disabled)

    def census(self, until_ms: int) -> Census:
        """The census of the jobs. `later` counts the jobs that are due after this instant."""
        return Census(*map(int, self._database.row(self._sql["census"], (until_ms,))))

    def advance(self, number: int, occurrence: int, next_run_ms: int | None) -> None:
        self._database.batch.add("jobs", self._sql["advance_job"], (occurrence, next_run_ms, number))

    def change(self, change: Change) -> None:
        """Gives the row of a declared job another declaration, deferred. Its number and its occurrences stay."""
        new = change.new
        times = new.kind, new.next_run_ms, new.interval_ms, new.schedule, new.enabled, new.boot
        if new.command.text == change.job.text:
            self._database.batch.add("jobs", self._sql["change_times"], (*times, change.job.number))
        else:
            command = new.command.text, pack(new.command), GRAMMAR_VERSION, _program(new.command)
            self._database.batch.add("jobs", self._sql["change_job"], (*times, *command, change.job.number))
        self._note_rewrite()
        self._database.note_change(change.job.number)

    def calendar_jobs(self, after: int, limit: int) -> list[Job]:
        """The next calendar jobs and timed alerts in the order of their numbers."""
        return list(map(_job, self._database.rows(self._sql["calendar_jobs"], (after, limit))))

    def overdue_calendars(self, now_ms: int) -> list[Job]:
        """The calendar jobs and timed alerts whose due time has come, also those that are paused or disabled."""
        return list(map(_job, self._database.rows(self._sql["overdue_calendars"], (now_ms,))))

    def set_due(self, number: int, next_run_ms: int | None) -> None:
        """Gives a job another next due time; None: it is not due any more."""
        self._note_rewrite()
        self._database.batch.add("jobs", self._sql["set_due"], (next_run_ms, number))

    def set_times(self, number: int, next_run_ms: int, schedule: str | None) -> None:
        """Gives the delivery of an alert another due time, and the calendar that this comes from."""
        self._database.batch.add("jobs", self._sql["set_times"], (next_run_ms, schedule, number))

    def created_calendars(self, first: int, limit: int) -> list[tuple[Job, int]]:
        """The next calendar jobs and timed alerts from a number on, each with the instant of its creation."""
        rows = self._database.rows(self._sql["created_calendars"], (first, limit))
        return [(_job(row[:-1]), int(row[-1])) for row in rows]

    def move_creation(self, first: int, milliseconds: int) -> None:
        """Moves the creation of the jobs from a number on that have or can get a calendar, after the clock was set."""
        self._database.execute(self._sql["move_creation"], (first, milliseconds))

    def next_number(self) -> int:
        """The number that the next job gets, if it is added in the same transaction."""
        counts = self._database.counts
        if LAST not in counts:
            row = self._database.row(self._sql["last_number"])
            counts[LAST] = int(row[0]) if row else 0
        return counts[LAST] + 1

    def has_numbers(self, count: int = 1) -> bool:
        """Whether there are numbers for more jobs. SQLite would report a full disk."""
        return self.next_number() + count - 1 <= LAST_NUMBER

    def delete(self, number: int) -> bool:
        """Removes a job. Returns False if there is none."""
        row = self._database.row(self._sql["delete_job"], (number,))
        if row is not None:
            self._count_removed(row[0])
        self._note_rewrite()
        self._database.note_change(number)
        return row is not None

    def remove(self, number: int, uid: int) -> None:
        """As `delete`, but deferred, for a job of this user that is known to exist and is not declared."""
        self._database.batch.add_key(self._sql["delete_jobs"], number)
        self._count_removed(uid)
        self._database.note_change(number)

    def set_back(self, milliseconds: int) -> None:
        """Moves jobs after the clock was set back: those of `in` and `run` by the same time, those of `every` by whole periods.

        Calendar jobs and timed alerts are moved one by one, by `set_due`.
        """
        self._move("back", milliseconds)

    def set_forward(self, milliseconds: int) -> None:
        """Undoes a `set_back` of the same size, except for jobs of `at = boot`: those follow every step forward."""
        self._move("forward", milliseconds)

    def set_forward_at_boot(self, milliseconds: int) -> None:
        """Moves the jobs of `at = boot` after the clock was set forward: their delay counts from the boot."""
        self._note_rewrite()
        self._database.execute(self._sql["move_forward_at_boot"], (milliseconds,))

    def _move(self, direction: str, milliseconds: int) -> None:
        """Moves due times. For many jobs it rebuilds the index, in a quarter of the time of moving its entries one by one."""
        self._note_rewrite()
        index = self._database.row(self._sql["next_run_index"]) if self.total() >= MANY else None
        if index:
            self._database.execute(self._sql["drop_next_run_index"])
        for kind in ("recurrent", "relative"):
            self._database.execute(self._sql[f"move_{direction}_{kind}"], (milliseconds,))
        if index:
            self._database.execute(index[0])

    def that_run(self, program: str, limit: int) -> list[int]:
        """The jobs whose command, or a command inside it, runs a program."""
        return [row[0] for row in self._database.rows(self._sql["jobs_that_run"], (program, limit))]

    def pause(self, numbers: Sequence[int], paused: bool) -> None:
        self._note_rewrite()
        self._database.execute(self._sql["pause_jobs"], (paused, json.dumps(numbers)))
        for number in numbers:
            self._database.note_change(number)

    def deliveries(self) -> int:
        """How many jobs deliver alerts. A pause of all jobs leaves them out."""
        return int(self._database.row(self._sql["count_deliveries"])[0])

    def pause_all(self, paused: bool) -> int:
        """Pauses or resumes all jobs; returns how many changed. A million take 1.5 s."""
        self._note_rewrite()
        return self._database.execute(self._sql["pause_all"], (paused,)).rowcount

    @property
    def rewrites(self) -> int:
        """Another number than before: more than the due times of single jobs may have changed (`declared_columns`)."""
        return self._database.counts.get(REWRITES, 0)

    def _note_rewrite(self) -> None:
        self._database.counts[REWRITES] = self.rewrites + 1

    def declared_columns(self) -> DeclaredColumns:
        return DeclaredColumns(*self._database.row(self._sql["declared_columns"]))

    def named(self, is_meant: Callable[[int, str], object]) -> list[NamedJob]:
        """The declared jobs that are meant by their number and name, in the order of their names."""
        rows = self._database.rows(self._sql["names"])
        return [
            NamedJob(number, declared, paused != 0) for number, declared, paused in rows if is_meant(number, declared)
        ]

    def named_by_pause(self, paused: bool, limit: int) -> list[NamedJob]:
        """The first jobs that are paused, or those that are not."""
        rows = self._database.rows(self._sql["named_by_pause"], (paused, limit))
        return [NamedJob(number, declared, paused) for number, declared in rows]

    def paused_and_due(self, now_ms: int, limit: int) -> list[Job]:
        """The paused jobs whose due times have passed, in the order (next run, number)."""
        return list(map(_job, self._database.rows(self._sql["paused_and_due"], (now_ms, limit))))

    def passed(self, numbers: Sequence[int], now_ms: int) -> list[Job]:
        """Those of these jobs whose due times have passed."""
        return list(map(_job, self._database.rows(self._sql["passed_jobs"], (json.dumps(numbers), now_ms))))

    def near(self, number: int) -> list[int]:
        """The existing numbers that are nearest to this one."""
        numbers = [
            int(row[0])
            for query in ("numbers_below", "numbers_above")
            for row in self._database.rows(self._sql[query], (number,))
        ]
        return sorted(numbers, key=lambda near: abs(near - number))[:3]


def _program(command: Command) -> str | None:
    return next((level.words[0] for level in command.nest() if level.form == "run"), None)


def _job(row: Any) -> Job:
    """A row of the view `stored_jobs`."""
    number, kind, next_run, interval, occurrence, text, packed, grammar, uid, user = row[:10]
    origin, declared, schedule, enabled, paused, failed_job, failed_occurrence, boot = row[10:]
    return Job(
        number,
        kind,
        next_run,
        interval,
        occurrence,
        text,
        unpack(packed, grammar, text),
        User(uid, user),
        origin,
        declared,
        schedule,
        enabled != 0,
        paused != 0,
        RunKey(failed_job, failed_occurrence) if failed_job is not None else None,
        boot,
    )
