"""The due times of stored jobs: from the columns of a job to a schedule, with the time zones and `days` of one moment.

Rule: a Schedules never changes; other zone data or other `days` make another one.
"""

from __future__ import annotations

from schedappliance.engine.records import Job
from schedappliance.model.calendars.calendar import Calendar
from schedappliance.model.calendars.compiling import Calendars
from schedappliance.model.calendars.pieces import Zone
from schedappliance.model.calendars.rule import DayLists, read_rule
from schedappliance.model.calendars.zones import UnknownZone, Zones
from schedappliance.model.schedules import Every, Once, Schedule


class NoSchedule(Exception):
    """The due times of a job cannot be known now; the text says why."""


class Schedules:
    """The schedules of all jobs. `days`: the dates of the `days` stanzas."""

    def __init__(self, zones: Zones, days: DayLists) -> None:
        self.zones, self.days = zones, days
        self._calendars = Calendars(zones, days)

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
        try:
            return self._calendars.get(text)
        except UnknownZone as unknown:
            raise NoSchedule(f"time zone `{unknown.name}` is missing here: {unknown.reason}") from unknown
        except (ValueError, TypeError, LookupError) as error:
            # Only another program can have written such a text.
            raise NoSchedule("its calendar in the store cannot be read") from error

    def zone_of(self, job: Job, instant_ms: int) -> Zone | None:
        """The zone in which an instant of a calendar job is shown; None for another job, and if the zone is missing."""
        calendar = self.calendar_of(job)
        if calendar is None:
            return None
        explained = calendar.explain(instant_ms)
        if explained:
            return explained.zone
        rule = read_rule(job.schedule or "")
        name = rule.zone or rule.read_expressions()[0].zone
        return self.zones.get(name) if name else None

    def calendar_of(self, job: Job) -> Calendar | None:
        """The calendar of a job; None for a job of another kind, and for a calendar that cannot be known now."""
        try:
            return self.calendar(job.schedule or "") if job.kind == "calendar" else None
        except NoSchedule:
            return None
