"""The schedules of stored jobs, and the decision about a due job: which occurrences are claimed, and which are missed.

Rule: times are integer milliseconds. A decision asks a schedule, and never walks through the due times that passed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from schedappliance.engine.reasons import (
    NO_SHUTDOWN,
    NOT_MADE_UP,
    TOO_OLD,
    WHILE_BUSY,
    WHILE_DOWN,
    Reason,
    degraded,
    held,
)
from schedappliance.engine.records import Hold, Job
from schedappliance.model.calendars.calendar import Calendar, DueTime
from schedappliance.model.calendars.compiling import Calendars
from schedappliance.model.calendars.day_lists import DayLists
from schedappliance.model.calendars.instants import changed_by_clock
from schedappliance.model.calendars.pieces import Zone
from schedappliance.model.calendars.rule import UNREADABLE, read_rule
from schedappliance.model.calendars.zones import UnknownZone, Zones
from schedappliance.model.schedules import Every, Once, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    from schedappliance.model.configuration import Configuration


class NoSchedule(Exception):
    """The due times of a job cannot be known now; the text says why."""


class Schedules:
    """The schedules of all jobs. `days`: the dates of the `days` stanzas. `zone`: that of `sched`."""

    def __init__(self, zones: Zones, days: DayLists, zone: str | None = None) -> None:
        self.zones, self.days, self.zone = zones, days, zone
        self._calendars = Calendars(zones, days, zone)

    def of(self, job: Job) -> Schedule:
        """The due times of a job that has a next one. Raises NoSchedule.

        A job that is due at an interval keeps its phase, so any due time is its offset.
        """
        if job.kind == "calendar":
            return self.calendar(job.schedule or "")
        assert job.next_run_ms is not None
        return Once(job.next_run_ms) if job.interval_ms is None else Every(job.interval_ms, job.next_run_ms)

    def calendar(self, text: str) -> Calendar:
        """The calendar with a text. Raises NoSchedule."""
        return self._made(self._calendars.get, text)

    def next_after_end(self, job: Job, instant_ms: int) -> int | None:
        """When a calendar job that has ended would be due next, if its calendar went on. Raises NoSchedule."""
        return self._made(self._calendars.endless, job.schedule or "").next_after(instant_ms)

    def _made(self, make: Callable[[str], Calendar], text: str) -> Calendar:
        try:
            return make(text)
        except UnknownZone as unknown:
            raise NoSchedule(f"time zone `{unknown.name}` is missing here: {unknown.reason}") from unknown
        except UNREADABLE as error:
            raise NoSchedule("its calendar in the store cannot be read") from error

    def zone_of(self, job: Job, instant_ms: int) -> Zone | None:
        """The zone in which an instant of a job with a calendar is shown; None for another job, and if the zone is missing.

        None also for an interval, whose times are shown in the zone of `sched`, unless the instant is a due time.
        """
        calendar = self.calendar_of(job)
        if calendar is None:
            return None
        explained = calendar.explain(instant_ms)
        if explained:
            return explained.zone
        name = read_rule(job.schedule or "").zone_to_show
        return self.zones.get(name) if name else None

    def explain(self, job: Job, due_ms: int, configuration: Configuration) -> DueTime | None:
        """What is special about a due time of a calendar job, or what the clock does at the local time of `at`.

        None for any other due time.
        """
        if calendar := self.calendar_of(job):
            return calendar.explain(due_ms)
        declared = configuration.jobs.get(job.declared or "")
        if declared is None or not (when := declared.local_times.get("at")):
            return None
        return changed_by_clock(when, declared.zone_of_local_times(configuration.zone), self.zones, due_ms)

    def calendar_of(self, job: Job) -> Calendar | None:
        """The calendar of a job; None for a job without one, and for a calendar that cannot be known now."""
        try:
            return self.calendar(job.schedule or "") if job.has_calendar else None
        except NoSchedule:
            return None


@dataclass(frozen=True, slots=True)
class Missed:
    """Due times that passed without a run: their number, the first and the last one."""

    count: int
    since_ms: int
    latest_ms: int


class Due(NamedTuple):
    """The latest due time, the next one after now (None: no more), and the due times that passed before the latest."""

    due_ms: int
    next_ms: int | None
    missed: Missed | None


def what_is_due(schedule: Schedule, next_run_ms: int, now_ms: int) -> Due:
    """The due time of a job whose `next_run_ms` has come, however late the call is.

    `next_run_ms` counts as a due time even if the schedule no longer has it.
    """
    assert next_run_ms <= now_ms
    following = schedule.next_after(next_run_ms)
    if following is None or following > now_ms:
        return Due(next_run_ms, following, None)
    due = schedule.latest(now_ms)
    assert due is not None
    latest = _before(schedule, due, next_run_ms)
    return Due(due, schedule.next_after(now_ms), Missed(schedule.count(following, due), next_run_ms, latest))


def _before(schedule: Schedule, due_ms: int, first_ms: int) -> int:
    """The due time before another one, not before the first one."""
    before = schedule.latest(due_ms - 1)
    return first_ms if before is None else max(before, first_ms)


# No turn is this late in normal operation, so an older due time passed while the appliance or the machine was down.
LATE_MS = 60_000
# `catch_up = all` catches up at most this many due times of one job.
MOST_AT_ONCE = 100


class CatchUp(NamedTuple):
    """Which passed due times are caught up: `once`, `none` or `all`, and their greatest age in milliseconds."""

    policy: str = "once"
    within_ms: int | None = None


def catch_up_of(configuration: Configuration, job: Job) -> CatchUp:
    """What becomes of due times that passed. The `sched` stanza says it, unless the stanza of a declared job says otherwise."""
    declared = configuration.jobs.get(job.declared) if job.declared is not None else None
    policy, within_ms = configuration.catch_up, configuration.catch_up_within_ms
    if declared is None:
        return CatchUp(policy, within_ms)
    return CatchUp(declared.catch_up or policy, declared.catch_up_within_ms or within_ms)


class Occurrence(NamedTuple):
    number: int
    due_ms: int


class MissedOccurrences(NamedTuple):
    """One row for all due times that passed. Its occurrence is the number of the last of them."""

    occurrence: int
    missed: Missed
    reason: Reason


class Claim(NamedTuple):
    """The decision about one due job. `last`: the number of the last occurrence that is claimed or missed.

    `next_run_ms`: the next due time; None if nothing more is planned.
    """

    runs: tuple[Occurrence, ...]
    missed: MissedOccurrences | None
    last: int
    next_run_ms: int | None


def claim_single(configuration: Configuration, job: Job) -> Claim | None:
    """The claim of a job of the console or the spool that is due once, and runs however late it is.

    None for any other job: `claim` decides about it, and would decide the same about this one in three times the time.
    """
    due_ms = job.next_run_ms
    runs_late = configuration.catch_up != "none" and configuration.catch_up_within_ms is None and not _is_shutdown(job)
    if due_ms is None or job.declared is not None or job.kind not in ("at", "in", "run") or not runs_late:
        return None
    number = job.occurrence + 1
    return Claim((Occurrence(number, due_ms),), None, number, None)


def claim(
    job: Job,
    schedule: Schedule,
    now_ms: int,
    started_ms: int,
    catch_up: CatchUp,
    trouble: str | None = None,
    hold: Hold | None = None,
) -> Claim:
    """Decides about a due job.

    `started_ms`: when the daemon started; no appliance ran at earlier due times. `trouble`: why nothing could be claimed
    until now. `hold`: the last one.
    """
    assert job.next_run_ms is not None
    due = what_is_due(schedule, job.next_run_ms, now_ms)
    passed = due.missed.count if due.missed else 0
    # Every due time before the end of a hold is late.
    claims_since = started_ms if hold is None else max(started_ms, now_ms if hold.until_ms is None else hold.until_ms)
    count, why_not = _runs_to_claim(job, schedule, due.due_ms, passed + 1, now_ms, claims_since, catch_up)
    last = job.occurrence + passed + 1
    if count == 1 and not passed:
        return Claim((Occurrence(last, due.due_ms),), None, last, due.next_ms)
    runs: list[Occurrence] = []
    latest = due.due_ms
    for back in range(count):
        runs.append(Occurrence(last - back, latest))
        latest = _before(schedule, latest, job.next_run_ms)
    missed = None
    if left := passed + 1 - count:
        if hold is not None and hold.covers(latest):
            reason = held(hold.reason, why_not)
        else:
            late = degraded(trouble) if trouble else WHILE_BUSY
            reason = why_not or (WHILE_DOWN if latest < started_ms else late)
        missed = MissedOccurrences(last - count, Missed(left, job.next_run_ms, latest), reason)
    return Claim(tuple(reversed(runs)), missed, last, due.next_ms)


def _runs_to_claim(
    job: Job, schedule: Schedule, due_ms: int, count: int, now_ms: int, started_ms: int, catch_up: CatchUp
) -> tuple[int, Reason | None]:
    """How many due times become runs, counted from the latest one back, and why the others are missed."""
    if _is_shutdown(job) and is_late(due_ms, now_ms, started_ms):
        return 0, NO_SHUTDOWN
    if job.kind == "run":
        # A `run` command made the job, not a schedule: it runs, however late.
        return 1, None
    if catch_up.policy == "none" and is_late(due_ms, now_ms, started_ms):
        return 0, NOT_MADE_UP
    most = min(count, MOST_AT_ONCE) if catch_up.policy == "all" else 1
    if catch_up.within_ms is None:
        return most, None
    young = _not_older(schedule, due_ms, now_ms - catch_up.within_ms)
    return min(most, young), TOO_OLD if young < most else None


def _is_shutdown(job: Job) -> bool:
    return job.command is not None and job.command.bare.form == "shutdown"


def is_late(due_ms: int, now_ms: int, started_ms: int) -> bool:
    """Whether running a due time now means catching it up."""
    return due_ms < started_ms or now_ms - due_ms > LATE_MS


def _not_older(schedule: Schedule, due_ms: int, oldest_ms: int) -> int:
    """How many due times, up to the latest one, are at or after an instant."""
    return 0 if due_ms < oldest_ms else max(1, schedule.count(oldest_ms, due_ms))


def claim_now(job: Job, now_ms: int) -> Claim:
    """Claims one extra occurrence for `sched run`. The due times of the job do not move.

    A job of kind `run` has no due time but that of its only occurrence, which is claimed early: an alert is delivered once.
    """
    number = job.occurrence + 1
    return Claim((Occurrence(number, now_ms),), None, number, None if job.kind == "run" else job.next_run_ms)
