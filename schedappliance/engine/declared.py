"""Compares declared jobs with the stored rows: which jobs a new configuration adds, changes and removes.

Rule: a declared job is identified by its name. An unchanged job keeps its id, phase and history; a job with a changed
command keeps its id and phase; a job with a changed schedule gets a new due time, which continues the old ones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from schedappliance.engine.boots import ThisBoot
from schedappliance.engine.records import AT_BOOT, CONFIG_USER, Job, Kind, NewJob
from schedappliance.engine.schedule import NoSchedule, Schedules
from schedappliance.model.calendars.calendar import Calendar
from schedappliance.model.calendars.day_lists import DayLists
from schedappliance.model.calendars.rule import CalendarRule
from schedappliance.model.configuration import Configuration, DeclaredJob
from schedappliance.model.schedules import AtBoot, Every, Once, Schedule

# In the text of `at`, what stands between the due time and the local time that is written for it.
AS_WRITTEN = " as "


class Boot(NamedTuple):
    """One boot of the machine. `began_ms`: its instant by the wall clock. `is_new`: no appliance of this store ran in it before."""

    this: ThisBoot
    began_ms: int
    is_new: bool = False


class Overdue(NamedTuple):
    """Due times that passed under a job's old schedule: `due_ms` and later ones. `job`: its row as it is now."""

    job: Job
    due_ms: int
    schedule: Schedule

    def includes(self, due_ms: int) -> bool:
        return due_ms == self.due_ms or (due_ms > self.due_ms and self.schedule.latest(due_ms) == due_ms)


@dataclass(slots=True)
class OverdueJobs:
    """The due times that changed jobs have passed, in the order in which they wait. Empty between two turns.

    `is_claiming`: they are being claimed, so what comes meanwhile waits behind them.
    """

    is_claiming: bool = False
    _waiting: deque[Overdue] = field(default_factory=deque)
    _of_job: dict[int, deque[Overdue]] = field(default_factory=dict)

    def add(self, overdue: Overdue) -> None:
        self._waiting.append(overdue)
        self._of_job.setdefault(overdue.job.number, deque()).append(overdue)

    def take(self) -> Overdue | None:
        """The next one; None if there is none left."""
        if not self._waiting:
            return None
        overdue = self._waiting.popleft()
        of_job = self._of_job[overdue.job.number]
        of_job.popleft()
        if not of_job:
            del self._of_job[overdue.job.number]
        return overdue

    def includes(self, job: int, due_ms: int) -> bool:
        """Whether a due time of a job waits."""
        return any(overdue.includes(due_ms) for overdue in self._of_job.get(job, ()))


class Change(NamedTuple):
    """A stored job whose declaration has changed, and what its row must hold now."""

    job: Job
    new: NewJob

    def leaves_overdue(self, now_ms: int) -> bool:
        """Whether due times have passed that the row will not show any more. `at = boot` moves its own to another boot."""
        job, new = self.job, self.new
        if job.next_run_ms is None or job.next_run_ms > now_ms or not (job.enabled and new.enabled):
            return False
        stays_at_boot = job.is_at_boot and (new.schedule or "").startswith(AT_BOOT)
        return due_times_of(new.schedule) != due_times_of(job.schedule) and not stays_at_boot

    def overdue(self, before: Schedules) -> Overdue:
        """The due times that have passed. `before`: the schedules until now."""
        job, new = self.job, self.new
        assert job.next_run_ms is not None
        now = job._replace(
            kind=new.kind,
            next_run_ms=new.next_run_ms,
            interval_ms=new.interval_ms,
            text=new.command.text,
            command=new.command,
            schedule=new.schedule,
        )
        return Overdue(now, job.next_run_ms, schedule_before(job, before))


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The changes of the declared jobs. `unchanged` counts the jobs that stay as they are."""

    added: tuple[NewJob, ...]
    changed: tuple[Change, ...]
    removed: tuple[Job, ...]
    unchanged: int

    def counts(self) -> dict[str, int]:
        return {
            "added": len(self.added),
            "changed": len(self.changed),
            "removed": len(self.removed),
            "unchanged": self.unchanged,
        }

    def __str__(self) -> str:
        return "jobs: " + ", ".join(f"{count} {what}" for what, count in self.counts().items())


def changed_jobs(before: Configuration, after: Configuration) -> list[str]:
    """The names of the jobs whose rows may have to change: other due times, another command, on or off, new, or gone."""
    names = before.days.keys() | after.days.keys() if before.days is not after.days else ()
    days = {name for name in names if before.days.get(name) != after.days.get(name)}
    # Without a call for each job: after an override, only one of 10,000 is another object.
    pairs = zip(after.jobs.items(), map(before.jobs.get, after.jobs), strict=True)
    others = [(name, job, earlier) for (name, job), earlier in pairs if job is not earlier or days]
    changed = [name for name, job, earlier in others if _may_differ(earlier, job, days)]
    return [*changed, *(name for name in before.jobs if name not in after.jobs)]


def _may_differ(before: DeclaredJob | None, job: DeclaredJob, days: set[str]) -> bool:
    if before is None or (before is not job and _in_row(before) != _in_row(job)):
        return True
    return bool(days) and not days.isdisjoint(_days_of(job))


def _in_row(job: DeclaredJob) -> tuple[object, ...]:
    """What decides the row of a job, apart from the lists of days that it names."""
    return job.schedule, job.command.text, job.enabled


def _days_of(job: DeclaredJob) -> tuple[str, ...]:
    return (*job.schedule.only, *job.schedule.excluded) if isinstance(job.schedule, CalendarRule) else ()


def with_seeds(declared: Iterable[DeclaredJob], node: str) -> Iterator[DeclaredJob]:
    """The jobs with the seed of their delays and of `~`: the same job has others on another node."""
    for job in declared:
        if isinstance(job.schedule, CalendarRule) and job.schedule.uses_seed:
            yield replace(job, schedule=replace(job.schedule, seed=f"{node}\0{job.name}"))
        else:
            yield job


def reconcile(
    declared: Iterable[DeclaredJob],
    stored: Iterable[Job],
    now_ms: int,
    schedules: Schedules,
    boot: Boot,
    before: Schedules | None = None,
) -> Reconciliation:
    """The changes that make the stored jobs agree with the declared ones. `before`: the schedules of the stored jobs."""
    rows = {job.declared: job for job in stored}
    added: list[NewJob] = []
    changed: list[Change] = []
    unchanged = 0
    for job in declared:
        row = rows.pop(job.name, None)
        if row is None:
            added.append(new_job(job, now_ms, schedules, boot))
        elif _same(job, row, text := schedule_text(job, schedules.days, boot)):
            unchanged += 1
        else:
            rearmed = _is_on_again(job, row) or due_times_of(row.schedule) != due_times_of(text)
            pending = _pending(row, now_ms, before or schedules)
            next_run = first_due(job, now_ms, schedules, boot, row, pending) if rearmed else row.next_run_ms
            changed.append(Change(row, _new_job(job, text, next_run)._replace(boot=_boot_of(row, now_ms))))
    return Reconciliation(tuple(added), tuple(changed), tuple(rows.values()), unchanged)


def _same(declared: DeclaredJob, row: Job, schedule: str) -> bool:
    wanted = (schedule, declared.command.text, declared.enabled)
    return wanted == (row.schedule, row.text, row.enabled)


def _is_on_again(job: DeclaredJob, row: Job | None) -> bool:
    """Whether a job is enabled that was disabled. Due times that passed meanwhile are not caught up."""
    return row is not None and job.enabled and not row.enabled


def schedule_text(job: DeclaredJob, days: DayLists, boot: Boot) -> str:
    """The options that decide the due times of a declared job, as one text. If they change, the job gets a new due time."""
    schedule = job.schedule
    if isinstance(schedule, Once):
        # Example: `at 1700000400000 as 2023-11-14 23:20:00`.
        return f"at {schedule.due_ms}{AS_WRITTEN}{schedule.written}" if schedule.written else f"at {schedule.due_ms}"
    if isinstance(schedule, AtBoot):
        # The next boot gives another text, and so a new due time.
        return f"{AT_BOOT}{boot.this.name} delay {schedule.delay_ms}"
    if isinstance(schedule, Every):
        return f"every {schedule.interval_ms} offset {schedule.offset_ms}"
    return schedule.text(days)


def due_times_of(schedule: str | None) -> str | None:
    """The part of a schedule text that decides the due times. The local time of `at` only explains one."""
    return schedule.partition(AS_WRITTEN)[0] if schedule is not None and schedule.startswith("at ") else schedule


def schedule_before(row: Job, schedules: Schedules) -> Schedule:
    """The schedule of a stored job with a next due time; that due time alone if the others are not known any more."""
    assert row.next_run_ms is not None
    try:
        return schedules.of(row)
    except NoSchedule:
        return Once(row.next_run_ms)


def _pending(row: Job, now_ms: int, schedules: Schedules) -> int | None:
    """The first due time of a stored job that is still to come, before any delay; None if there is none."""
    if row.next_run_ms is None:
        return None
    schedule = schedule_before(row, schedules)
    due = row.next_run_ms if row.next_run_ms > now_ms else schedule.next_after(now_ms)
    return schedule.nominal(due) if due is not None and isinstance(schedule, Calendar) else due


def first_due(
    job: DeclaredJob,
    now_ms: int,
    schedules: Schedules,
    boot: Boot,
    row: Job | None = None,
    pending_ms: int | None = None,
) -> int | None:
    """The first due time after now; that of `at` even if it has passed. None if its time zone is missing.

    `row`: the stored job before this change. `pending_ms`: its next due time, before any delay.
    """
    is_on_again = _is_on_again(job, row)
    if isinstance(job.schedule, AtBoot):
        return _due_in_boot(job.schedule, now_ms, boot, row, is_on_again, job.enabled)
    if isinstance(job.schedule, Once):
        is_over = is_on_again and job.schedule.due_ms <= now_ms
        return None if is_over or (row and _has_come(job.schedule, row, now_ms)) else job.schedule.due_ms
    try:
        schedule = (
            job.schedule if isinstance(job.schedule, Every) else schedules.calendar(job.schedule.text(schedules.days))
        )
    except NoSchedule:
        return None
    if row is None:
        return schedule.next_after(now_ms)
    due = _continued(schedule, now_ms, pending_ms)
    has_passed = due is not None and due <= now_ms
    return schedule.next_after(now_ms) if has_passed and is_on_again else due


def _has_come(schedule: Once, row: Job, now_ms: int) -> bool:
    """Whether the local time of `at` is still the one in the row, and came before its zone changed. It does not come twice."""
    written = (row.schedule or "").partition(AS_WRITTEN)[2]
    is_over = row.next_run_ms is None or row.next_run_ms <= now_ms
    return row.kind == "at" and is_over and schedule.written != "" and schedule.written == written


def _continued(schedule: Every | Calendar, now_ms: int, pending_ms: int | None) -> int | None:
    """The next due time of a changed job. Delays can change, so it is chosen by the due times before any delay.

    Those up to now have been handled, except one that waits for the end of its delay.
    """
    next_after = schedule.next_after_nominal if isinstance(schedule, Calendar) else schedule.next_after
    if pending_ms is not None and pending_ms <= now_ms:
        due = next_after(pending_ms - 1)
        nominal = schedule.nominal(due) if due is not None and isinstance(schedule, Calendar) else due
        if nominal == pending_ms:
            return due
    return next_after(now_ms)


def _due_in_boot(
    schedule: AtBoot, now_ms: int, boot: Boot, row: Job | None, is_on_again: bool, is_enabled: bool
) -> int | None:
    """The due time in this boot; None if the job has run in it, or was declared or enabled after its time had passed."""
    due = boot.began_ms + schedule.delay_ms
    if row and (name := _boot_of(row, None if is_enabled else now_ms)) and boot.this.includes(name) is True:
        return None
    is_due = boot.is_new or due > now_ms or (row is not None and row.is_at_boot and not is_on_again)
    return max(due, now_ms) if is_due else None


def _boot_of(row: Job, now_ms: int | None) -> str | None:
    """The last boot in which a job was due by `at = boot`; None if in none that is known.

    `now_ms`: the due times up to this instant are over, since the job gets others or is switched off. None if it keeps them.
    """
    if not row.is_at_boot:
        return row.boot
    is_over = now_ms is not None and row.enabled and row.next_run_ms is not None and row.next_run_ms <= now_ms
    return (row.schedule or "").split()[1] if row.next_run_ms is None or is_over else None


def new_job(job: DeclaredJob, now_ms: int, schedules: Schedules, boot: Boot) -> NewJob:
    return _new_job(job, schedule_text(job, schedules.days, boot), first_due(job, now_ms, schedules, boot))


def _new_job(job: DeclaredJob, schedule: str, next_run_ms: int | None) -> NewJob:
    return NewJob(
        kind=_KINDS[type(job.schedule)],
        next_run_ms=next_run_ms,
        interval_ms=job.schedule.interval_ms if isinstance(job.schedule, Every) else None,
        command=job.command,
        user=CONFIG_USER,
        origin="stanza",
        declared=job.name,
        schedule=schedule,
        enabled=job.enabled,
    )


_KINDS: dict[type, Kind] = {Once: "at", AtBoot: "in", Every: "every", CalendarRule: "calendar"}
