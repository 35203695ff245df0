"""The rows of incidents, and of alerts until their delivery has ended. Rule: an alert is removed when its run has ended for good."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from schedappliance.engine.incidents import MOST_BYTES, MOST_EVENTS, AlertEvent, Incident, Subject
from schedappliance.engine.records import RunKey
from schedappliance.store.database import Table, storable

# After the incidents that are listed, at most this many are counted.
MORE_COUNTED = 10_000


class Alert(NamedTuple):
    """The events that one run delivers, for a `notify` stanza."""

    notify: str
    events: list[AlertEvent]


class Share(NamedTuple):
    """How many events of an alert, or of several, are about runs of one user, and their bytes."""

    events: int = 0
    size: int = 0


class WaitingAlert(NamedTuple):
    """An alert that is not delivered yet. `has_begun`: an attempt to deliver it has begun. `shares`: by uid."""

    job: int
    has_begun: bool
    shares: dict[int, Share]


class Incidents(Table):
    file = "incidents"

    def all(self, behind: int = 0, limit: int = -1) -> list[Incident]:
        """All incidents by their numbers; with a limit, at most so many behind a number."""
        return [_incident(row) for row in self._database.rows(self._sql["all_incidents"], (behind, limit))]

    def page(self, after: int, limit: int) -> tuple[list[Incident], int]:
        """The next incidents after one, by its number, and how many more there are: at most MORE_COUNTED.

        Those of jobs that no stanza declares come last: a user can make many. Otherwise the oldest come first. After an
        incident that is closed, none is left out, but some may come again.
        """
        rows = self._database.rows(self._sql["page_of_incidents"], (self._rank(after), after, limit))
        incidents = [_incident(row) for row in rows]
        if len(incidents) < limit:
            return incidents, 0
        last = incidents[-1].number
        more = self._database.row(self._sql["count_incidents_after"], (self._rank(last), last, MORE_COUNTED))
        return incidents, int(more[0])

    def _rank(self, number: int) -> int:
        row = self._database.row(self._sql["rank_of_incident"], (number,))
        return int(row[0]) if row else 0

    def of(self, subject: Subject) -> list[Incident]:
        """The incidents of a job or a program, one for each stanza."""
        return [_incident(row) for row in self._database.rows(self._sql["incidents_of"], subject)]

    def of_job(self, job: int) -> list[Incident]:
        return [_incident(row) for row in self._database.rows(self._sql["incidents_of_job"], (job,))]

    def named(self, number: int | None, name: str | None, job: int | None) -> list[Incident]:
        """The incident with a number, and those of a job or a program by its name, or of a job by its number."""
        return [_incident(row) for row in self._database.rows(self._sql["named_incidents"], (number, name, job))]

    def get(self, number: int) -> Incident | None:
        row = self._database.row(self._sql["incident"], (number,))
        return _incident(row) if row else None

    def find(self, subject: Subject, notify: str) -> Incident | None:
        row = self._database.row(self._sql["incident_of"], (*subject, notify))
        return _incident(row) if row else None

    def due(self, now_ms: int, limit: int) -> list[Incident]:
        """The incidents whose reminder is due."""
        return [_incident(row) for row in self._database.rows(self._sql["due_reminders"], (now_ms, limit))]

    def mirror(self) -> tuple[bool, int | None]:
        """Whether there are incidents, and when the next reminder is due."""
        last, remind_ms = self._database.row(self._sql["mirror"])
        return last is not None, remind_ms

    def put(self, incident: Incident) -> Incident:
        """Stores an incident. A new one gets its number."""
        number, notify, subject, *rest = incident
        run = incident.last_run or (None, None)
        row = (*rest[:4], *run, *rest[5:-1], " ".join(sorted(incident.troubles)))
        if number:
            self._database.execute(self._sql["change_incident"], (*row, number))
            return incident
        cursor = self._database.execute(self._sql["add_incident"], (notify, *subject, *row))
        assert cursor.lastrowid is not None
        return incident._replace(number=cursor.lastrowid)

    def close(self, incident: Incident) -> None:
        self._database.execute(self._sql["delete_incident"], (incident.number,))

    def set_back(self, milliseconds: int) -> None:
        """Moves the reminders back after the clock was set back."""
        self._database.execute(self._sql["move_back_reminders"], (milliseconds,))

    def noted_late(self, run: RunKey) -> set[str]:
        """The stanzas that have noted that a run is late."""
        return {notify for (notify,) in self._database.rows(self._sql["noted_late"], run)}

    def note_late(self, run: RunKey, notify: str) -> None:
        """Remembers until the end of a run that a stanza has noted that the run is late."""
        self._database.execute(self._sql["delete_old_late_runs"])
        self._database.execute(self._sql["add_late_run"], (*run, notify))

    def add_alert(self, job: int, notify: str, event: AlertEvent, uid: int) -> None:
        """Adds an event to the alert that a job delivers.

        `uid`: of the user of the run that the event is about; NO_UID for an event that stands for others, which comes first.
        """
        text = json.dumps(event, ensure_ascii=False)
        size = len(text.encode(errors="backslashreplace"))
        self._database.execute(self._sql["add_alert"], (job, notify, storable(text), size, uid))

    def collecting(self, notify: str) -> int | None:
        """The job of the alert that waits for more events; None if there is none, or if it is paused or has too many."""
        row = self._database.row(self._sql["collecting"], (notify, MOST_EVENTS, MOST_BYTES))
        return int(row[0]) if row else None

    def alert(self, job: int) -> Alert | None:
        """The alert that a job delivers; None for any other job."""
        rows = self._database.rows(self._sql["alert"], (job,))
        return Alert(rows[0][0], [json.loads(event) for _, event in rows]) if rows else None

    def events(self, job: int) -> list[AlertEvent]:
        """The events of the alert that a job delivers."""
        return [json.loads(event) for _, event in self._database.rows(self._sql["alert"], (job,))]

    def waiting(self, notify: str) -> tuple[int, int]:
        """How many events of a stanza are not delivered yet, and their bytes."""
        number, size = self._database.row(self._sql["waiting"], (notify,))
        return number, size

    def waiting_alerts(self, notify: str) -> list[WaitingAlert]:
        """The alerts of a stanza that are not delivered yet, the oldest first."""
        alerts: dict[int, WaitingAlert] = {}
        for job, has_begun, uid, *share in self._database.rows(self._sql["waiting_alerts"], (notify,)):
            alerts.setdefault(job, WaitingAlert(job, bool(has_begun), {})).shares[uid] = Share(*share)
        return list(alerts.values())

    def move_events(self, job: int, uid: int, heir: int) -> None:
        """Lets another job deliver the events of an alert that are about runs of other users than this one."""
        self._database.execute(self._sql["move_events"], (heir, job, uid))
        self._database.execute(self._sql["move_deliveries"], (heir, job))

    def take_left_out(self, job: int) -> AlertEvent | None:
        """Removes and returns the event of an alert that stands for others."""
        row = self._database.row(self._sql["left_out"], (job,))
        if row is None:
            return None
        self._database.execute(self._sql["delete_event"], (row[0],))
        return AlertEvent(json.loads(row[1]))

    def count_alerts(self) -> int:
        """How many alerts are not delivered yet."""
        return int(self._database.row(self._sql["count_alerts"])[0])

    def users(self, job: int) -> list[int]:
        """The users of the runs that the alert of a job is about, that of its first event first; none for any other job."""
        return [uid for (uid,) in self._database.rows(self._sql["users_of_alert"], (job,))]

    def all_users(self) -> dict[int, list[int]]:
        """The same of all alerts, by job."""
        users: dict[int, list[int]] = {}
        for job, uid in self._database.rows(self._sql["users_of_alerts"]):
            users.setdefault(job, []).append(uid)
        return users

    def is_alert(self, job: int) -> bool:
        return self._database.row(self._sql["is_alert"], (job,)) is not None

    def end_alert(self, job: int) -> None:
        """Forgets an alert after its run has ended."""
        self._database.execute(self._sql["delete_alert"], (job,))

    def end_left_alerts(self, jobs: Sequence[int] | None = None) -> None:
        """Forgets the alerts that no run will deliver any more. `jobs`: only those of these jobs."""
        if jobs is None:
            self._database.execute(self._sql["delete_left_alerts"])
        else:
            self._database.execute(self._sql["delete_left_alerts_of"], (json.dumps(jobs),))


def _incident(row: Any) -> Incident:
    number, notify, subject, job, kind, since_ms, count, last_ms, last_job, last_occurrence, *rest, _rank, kinds = row
    run = None if last_job is None else RunKey(last_job, last_occurrence)
    incident = Incident(number, notify, Subject(subject, job), kind, since_ms, count, last_ms, run, *rest)
    return incident._replace(troubles=frozenset(kinds.split()))
