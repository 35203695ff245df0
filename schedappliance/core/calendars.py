"""Moves the calendar jobs when the clock is set, when the time zone data changes, and when the machine moves to another zone.

Rule: a job moves only if its next due time changes. A due time that has come is claimed, whatever moves. No due time
before the creation of a calendar job counts. A timed alert moves like a calendar job.
"""

# Example: a job of `cron = "0 * * * *"` (every full hour) that is due at 13:00.
#
#   12:30 -> 10:30   The clock is set back by two hours (`set_calendars_back`). The job is now due at its first due time that is
#                    not before 13:00 minus two hours: at 11:00.
#   11:00            The job runs and is due at 12:00.
#   11:20 -> 13:20   The clock is right again (`put_calendars_right`). All due times up to 12:30 were decided before the step
#                    back. So the job is due at its first due time after 12:30: at 13:00, which has passed, so it runs now.
#
# A job that was created at 11:10 by the wrong clock was created at 13:10 by the right one. It must not run for 13:00
# (`skip_to_creation`).
#
# Other zone data can give a job other due times (`zones_changed`). Then its next one is the first after now. A job whose
# due times stay the same is not moved.

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from schedappliance.clock import local_text
from schedappliance.engine.records import Job, job_id
from schedappliance.engine.schedule import NoSchedule, Schedules
from schedappliance.model.calendars.pieces import END
from schedappliance.model.calendars.zones import DAMAGED, UnknownZone, Zones

if TYPE_CHECKING:
    from schedappliance.core.state import State
    from schedappliance.engine.events import ZonesChanged
    from schedappliance.model.calendars.calendar import Calendar
    from schedappliance.model.configuration import DeclaredJob
    from schedappliance.model.schedules import Schedule

PAGE = 1000
# The log names at most this many moved jobs.
NAMED = 100
# At a start, the calendars of this many jobs are prepared, so that the first claims need not wait for that.
PREPARED = 10
# The keys of `meta` for the zone data and the machine's zone by which the next due times were made.
ZONE_DATA, LOCAL_ZONE = "tzdata", "local_zone"
# The number of the first job that was created in this boot, or since the clock is known to be wrong.
FIRST_NEW = "first_new_job"
# The jobs that were due when the clock was set back and wait since then: number, last occurrence and due time of each.
OVERDUE = "overdue"


# The next due time that a job gets, perhaps the one that it has; None: it is not due any more.
NewDueTime = Callable[[Job, Schedules], int | None]


class MovedJob(NamedTuple):
    """A job with another next due time."""

    job: Job
    next_run_ms: int | None


def remember_new_jobs(state: State) -> None:
    """Remembers the number of the next job: from this job on, the stored creation of a job moves with the clock."""
    state.store.settings.set_meta(FIRST_NEW, state.store.jobs.next_number())


def set_calendars_back(state: State, back_ms: int, is_first: bool) -> None:
    """After the clock was set back, each job is due at its first due time that is not before its old one minus `back_ms`.

    A due time in the future stays in the future. An overdue one stays as it is: it must be claimed, even if the
    calendar, with another zone, does not have it any more. A job that has ended may have done so by a wrong clock only. Its
    old due time is the one that it would have without an end. `is_first`: the clock was right before this step.
    """
    now = state.moment.wall
    # The right clock showed `now + back_ms`.
    overdue = state.store.jobs.overdue_calendars(now + back_ms) if is_first else []

    def new_due_time(job: Job, schedules: Schedules) -> int | None:
        due = job.next_run_ms
        if due is not None and due <= now:
            return due
        due = schedules.next_after_end(job, now + back_ms) if due is None else due
        return None if due is None else schedules.calendar(job.schedule or "").next_after(due - back_ms - 1)

    _move(state, new_due_time)
    if is_first:
        _remember_overdue(state, overdue)
    _move_new_jobs_up(state)
    _move_creation(state, -back_ms)


def _remember_overdue(state: State, overdue: list[Job]) -> None:
    """Stores the jobs that were due when the clock was set back, and are not due any more."""
    jobs = state.store.jobs
    now = state.moment.wall
    waiting = [job for job in overdue if (row := jobs.get(job.number)) and (row.next_run_ms or 0) > now]
    rows = [(job.number, job.occurrence, job.next_run_ms) for job in waiting]
    state.store.settings.set_meta(OVERDUE, json.dumps(rows))


def _move_new_jobs_up(state: State) -> None:
    """Gives its first due time after now to each job that was created before the clock was set back, and would miss this time.

    Example: a job of 11:00 each day was created while the clock showed 12:10, so it is due tomorrow. Then the clock is
    set back to 10:30. Now the job is due today at 11:00: it was created after 11:00 only by the other clock.
    """
    now = state.moment.wall
    for job, calendar, created in _new_calendars(state):
        due = calendar.next_after(now)
        is_overdue = job.next_run_ms is not None and job.next_run_ms <= now
        if due is not None and due <= created and not is_overdue:
            state.store.jobs.set_due(job.number, due)


def put_calendars_right(state: State, before_ms: int) -> None:
    """After steps back were undone, each job is due at its first due time after `before_ms`.

    All due times up to `before_ms` were decided before the first step back, except those in OVERDUE, which still waited.
    """

    def new_due_time(job: Job, schedules: Schedules) -> int | None:
        return schedules.calendar(job.schedule or "").next_after(before_ms)

    _move(state, new_due_time)
    jobs = state.store.jobs
    settings = state.store.settings
    for number, occurrence, due in json.loads(settings.meta(OVERDUE) or "[]"):
        job = jobs.get(number)
        if job is not None and job.occurrence == occurrence and _has_due_time(state, job, due):
            jobs.set_due(number, due)
    settings.set_meta(OVERDUE, "[]")


def _has_due_time(state: State, job: Job, due_ms: int) -> bool:
    calendar = state.schedules.calendar_of(job)
    return calendar is not None and calendar.next_after(due_ms - 1) == due_ms


def skip_to_creation(state: State, forward_ms: int) -> None:
    """After the clock was set forward, no calendar job is due before its creation.

    The instant of the creation moves with the clock. It is known only for jobs of this boot.
    """
    _move_creation(state, forward_ms)
    for job, calendar, created in _new_calendars(state):
        if job.next_run_ms is not None and job.next_run_ms <= created:
            _plan(state, job, calendar.next_after(created))


def _new_calendars(state: State) -> Iterator[tuple[Job, Calendar, int]]:
    """The calendar jobs from FIRST_NEW on, with their calendars and the instants of their creation."""
    first = state.store.settings.meta(FIRST_NEW)
    while first is not None and (page := state.store.jobs.created_calendars(first, PAGE)):
        first = page[-1][0].number + 1
        for job, created in page:
            if calendar := state.schedules.calendar_of(job):
                yield job, calendar, created


def _move_creation(state: State, by_ms: int) -> None:
    first = state.store.settings.meta(FIRST_NEW)
    if first is not None:
        state.store.jobs.move_creation(first, by_ms)


def zones_changed(state: State, event: ZonesChanged) -> None:
    """Takes other time zone data. Jobs whose next due time differs get the first due time after now."""
    before = state.schedules
    state.schedules = Schedules(event.zones, state.schedules.days, state.schedules.zone)
    state.unclaimable = frozenset()
    _follow_zones(state, before)
    for path in event.zones.damaged:
        state.log("warning", f"{path}: {DAMAGED}")
    lost = [f"time zone `{name}` is missing here: {reason}" for name, reason in event.zones.lost_zones.items()]
    trouble = f"{'; '.join(lost)}; jobs go on with the data that was read last" if lost else None
    if trouble and trouble != state.status.zones:
        state.log("warning", trouble)
    state.status = replace(state.status, zones=trouble)


def release_unclaimable(state: State) -> None:
    """Releases jobs whose time zone is available now."""
    if state.unclaimable:
        state.unclaimable = frozenset(number for number in state.unclaimable if _is_unknown(state, number))


def _is_unknown(state: State, number: int) -> bool:
    job = state.store.jobs.get(number)
    return job is not None and job.kind == "calendar" and state.schedules.calendar_of(job) is None


def follow_zones_since_last_start(state: State) -> None:
    """Compares the zone data with that of the last daemon."""
    settings = state.store.settings
    known = (settings.meta(ZONE_DATA), settings.meta(LOCAL_ZONE))
    if known != _zone_names(state.schedules.zones):
        if known == (None, None):
            _remember_zones(state)
        else:
            _follow_zones(state, None)


def read_zones(state: State, jobs: Iterable[DeclaredJob]) -> None:
    """Reads the zones of local times: a change of their data is then noticed, and they stay known if it is removed."""
    for name in {name for job in jobs for name in job.zones(state.configuration.zone)}:
        with suppress(UnknownZone):
            state.schedules.zones.get(name)


def prepare_calendars(state: State) -> None:
    """Reads the calendars of the jobs that are due first, so that their claims do not wait for it.

    The first expression of a daemon builds a parser, which takes 40 ms. A claim takes less than one.
    """
    now = state.moment.wall
    for job in state.store.jobs.due(END * 1000, PREPARED):
        if job.next_run_ms is not None and (calendar := state.schedules.calendar_of(job)) is not None:
            # Only for its effect: counting reads the expression and fills the caches.
            calendar.count(min(job.next_run_ms, now), now)


def _follow_zones(state: State, before: Schedules | None) -> None:
    """Moves the jobs whose next due time other zones have changed, and logs them.

    `before`: the schedules until now. None at a start: the zones of the last daemon are not known.
    """
    now = state.moment.wall

    def new_due_time(job: Job, schedules: Schedules) -> int | None:
        schedule = schedules.calendar(job.schedule or "")
        due = job.next_run_ms
        stays = due is not None and (due <= now or _has_same_times(job, schedule, before, now))
        return due if stays else schedule.next_after(now)

    _log_moves(state, _move(state, new_due_time))
    _remember_zones(state)


def _log_moves(state: State, jobs: list[MovedJob]) -> None:
    version = state.schedules.zones.version
    for job, next_run_ms in jobs[:NAMED]:
        due, was = _shown(state, job, next_run_ms), _shown(state, job, job.next_run_ms)
        name = job_id(state.store.node, job.number)
        move = f"{f'next due {due}' if due else 'not due any more'} ({f'instead of {was}' if was else 'nothing was planned'})"
        state.log("warning", f"job {name}: {move}: time zone data {version}")
    if len(jobs) > NAMED:
        state.log("warning", f"{len(jobs) - NAMED:,} more jobs have another next due time: time zone data {version}")


def _shown(state: State, job: Job, due_ms: int | None) -> str | None:
    zone = None if due_ms is None else state.schedules.zone_of(job, due_ms)
    return None if due_ms is None or zone is None else local_text(due_ms, zone)


def _has_same_times(job: Job, schedule: Schedule, before: Schedules | None, now_ms: int) -> bool:
    """Whether other zones leave the next due time of a job as it is, and bring no other due time before it.

    The schedule may have due times between now and the next one: after a step back of the clock, those that the job has
    handled already come again. They do not move the job if there were as many in the old zones.
    """
    due = job.next_run_ms
    assert due is not None
    if schedule.next_after(due - 1) != due:
        return False
    try:
        passed = before.calendar(job.schedule or "").count(now_ms + 1, due - 1) if before else 0
    except NoSchedule:
        passed = 0
    return schedule.count(now_ms + 1, due - 1) == passed


def _zone_names(zones: Zones) -> tuple[str, str]:
    """The version of the zone data, and the name of the machine's zone."""
    try:
        return zones.version, zones.local.name or "unnamed"
    except UnknownZone:
        return zones.version, "none"


def _remember_zones(state: State) -> None:
    for key, name in zip((ZONE_DATA, LOCAL_ZONE), _zone_names(state.schedules.zones), strict=True):
        state.store.settings.set_meta(key, name)


def _move(state: State, new_due_time: NewDueTime) -> list[MovedJob]:
    """Moves every calendar job that has another due time now. Jobs with the same schedule and due time share it."""
    jobs = state.store.jobs
    after = 0
    known: dict[tuple[str | None, int | None], int | None] = {}
    moved_jobs: list[MovedJob] = []
    while page := jobs.calendar_jobs(after, PAGE):
        after = page[-1].number
        for job in page:
            key = (job.schedule, job.next_run_ms)
            if key not in known:
                try:
                    known[key] = new_due_time(job, state.schedules)
                except NoSchedule:
                    # The zone of the job is missing, so the job keeps its next due time.
                    known[key] = job.next_run_ms
            if _plan(state, job, known[key]):
                moved_jobs.append(MovedJob(job, known[key]))
    return moved_jobs


def _plan(state: State, job: Job, due_ms: int | None) -> bool:
    """Gives a calendar job its next due time; returns whether it is another one.

    A job that no stanza declares keeps the one that it has if there are no more: only a claim removes it.
    """
    is_another = due_ms != job.next_run_ms and (due_ms is not None or job.declared is not None)
    if is_another:
        state.store.jobs.set_due(job.number, due_ms)
    return is_another
