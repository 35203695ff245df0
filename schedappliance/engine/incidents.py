"""Incidents: how events count, when people are told, and what the program that delivers an alert gets. core/alerts.py notes the events.

Rule: an incident is told once when it opens and once when its job recovers, however many events lie between.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from schedappliance.clock import HasOffset, local_text
from schedappliance.diagnostics import counted
from schedappliance.engine.records import RunKey

if TYPE_CHECKING:
    from schedappliance.model.configuration import Notify

# The version of the text that a program reads.
VERSION = 1
RECOVERED, LATE = "recovered", "late"
# The kind of the event that stands for others.
LEFT_OUT = "left_out"

AlertEvent = dict[str, Any]
# The most events of one alert, and their bytes; the last event may exceed them.
MOST_EVENTS, MOST_BYTES = 200, 1024 * 1024
OUTPUT_BYTES = 4096

# The usual duration of a job's runs is the median of the last ones that succeeded. Fewer than this many give none.
USUAL_RUNS, LEAST_RUNS = 5, 3
# A run that is late takes at least this much longer than usual.
LATE_MS = 60_000

# The number of the subject of an incident of the appliance itself.
ITSELF = -1


class Subject(NamedTuple):
    """What has an incident: the name or id of a job, and its number.

    For runs of a program that no recurrent job has made, it is the name of the program and 0.
    """

    name: str
    job: int


class Incident(NamedTuple):
    """A job that has not recovered, for one `notify` stanza. `times`: how many events so far. Instants are wall milliseconds.

    `number`: 0 until it is stored. `kind`, `last_ms`, `last_run`: of the last event. `told_ms`: when it was told last, which
    is the end of the delivery; None if it was not. `delivery`: the job that has to deliver its last alert, or that could not;
    None if no alert was made or the last one was delivered. `remind_ms`: when the next reminder is due. `acked_ms`,
    `acked_by`: the acknowledgement. `troubles`: the kinds of trouble of the appliance itself that people were told of. A late
    run does not replace the kind of another event, and is one event together with its end.
    """

    number: int
    notify: str
    subject: Subject
    kind: str
    since_ms: int
    times: int
    last_ms: int
    last_run: RunKey | None
    told_ms: int | None = None
    remind_ms: int | None = None
    acked_ms: int | None = None
    acked_by: str | None = None
    delivery: int | None = None
    troubles: frozenset[str] = frozenset()

    @property
    def has_alert(self) -> bool:
        return self.told_ms is not None or self.delivery is not None


def with_event(
    incident: Incident | None, notify: Notify, subject: Subject, kind: str, now_ms: int, run: RunKey
) -> tuple[Incident, bool]:
    """Opens an incident (None), or counts one more event of it. Returns the incident, and whether it is told now.

    It is told when it has as many events as `after` says. If people know only of a late run, another event is told too.
    """
    if incident is None:
        incident = Incident(0, notify.name, subject, kind, now_ms, 0, now_ms, None)
    is_new = run != incident.last_run
    is_known = incident.has_alert and (incident.kind != LATE or kind == LATE)
    # What people were told is more than a late run. Before they are told anything, the last event counts.
    kind = incident.kind if kind == LATE and incident.has_alert else kind
    incident = incident._replace(kind=kind, times=incident.times + is_new, last_ms=now_ms, last_run=run)
    if is_known or incident.acked_ms is not None or incident.times < notify.after:
        return incident, False
    return with_alert(incident, notify, now_ms), True


def with_troubles(
    incident: Incident | None, notify: Notify, subject: Subject, kind: str, now_ms: int, troubles: frozenset[str]
) -> Incident | None:
    """Opens an incident of the appliance itself (None), or counts one more event of it. It is told now.

    `troubles`: the kinds of what is wrong now. Returns None if all of them have been told in this incident: a reason whose
    words change, or that comes and goes, is no event. Who has acknowledged the others knows nothing of another one.
    """
    if incident is None:
        incident = Incident(0, notify.name, subject, kind, now_ms, 0, now_ms, None)
    elif troubles <= incident.troubles:
        return None
    incident = incident._replace(times=incident.times + 1, last_ms=now_ms, acked_ms=None, acked_by=None)
    return with_alert(incident._replace(troubles=incident.troubles | troubles), notify, now_ms)


def usual_duration(durations: Sequence[int]) -> int | None:
    """The usual duration of a job's runs; None if it is not known. `durations`: of the last ones that succeeded."""
    if len(durations) < LEAST_RUNS:
        return None
    # The lower median. The module `statistics` would add 7 ms to each start.
    return sorted(durations)[(len(durations) - 1) // 2]


def when_late(started_at: int, usual_ms: int, notify: Notify) -> int:
    """When a run that has begun then is late for a stanza."""
    return started_at + max(notify.longer_than * usual_ms, usual_ms + LATE_MS)


def with_alert(incident: Incident, notify: Notify, now_ms: int) -> Incident:
    """The incident that is told now. The next reminder is due after `again`; with 0, none is."""
    return incident._replace(remind_ms=now_ms + notify.again_ms if notify.again_ms else None)


def with_delivery(incident: Incident, job: int, now_ms: int) -> Incident:
    """The incident after a job has delivered an alert of it. Another job may have to deliver a later alert."""
    return incident._replace(told_ms=now_ms, delivery=None if incident.delivery == job else incident.delivery)


def with_acknowledgement(incident: Incident, user: str, now_ms: int) -> Incident:
    """The incident after a user has acknowledged it: it is not told again before its job recovers.

    For the appliance itself, another kind of trouble ends the acknowledgement.
    """
    return incident._replace(acked_ms=now_ms, acked_by=user, remind_ms=None)


def tells_recovery(incident: Incident, notify: Notify) -> bool:
    """Whether the recovery is told: only if the incident has an alert. It may still be on its way."""
    return incident.has_alert and RECOVERED in notify.when


def left_out(events: list[AlertEvent], now_ms: int, reason: str) -> AlertEvent:
    """The event that stands for others, which are not delivered. Some of them may stand for others too."""
    return {
        "kind": LEFT_OUT,
        "at_ms": now_ms,
        "subject": "alerts",
        "reason": reason,
        "incident": None,
        "count": sum(event["count"] if event["kind"] == LEFT_OUT else 1 for event in events),
        "since_ms": min(event["since_ms" if event["kind"] == LEFT_OUT else "at_ms"] for event in events),
        "reminder": False,
        "run": None,
        "output": None,
    }


def summary(event: AlertEvent, zone: HasOffset) -> str:
    """An event in one line. `zone`: in which people see instants."""
    kind, count = str(event["kind"]).replace("_", " "), event["count"]
    since = f" since {local_text(event['since_ms'], zone)}"
    if event["kind"] == LEFT_OUT:
        return f"{counted(count, 'earlier event')}{since} left out: {event['reason']}"
    if event["kind"] == RECOVERED:
        return f"{event['subject']} recovered after {counted(count, 'event')}{since}"
    still = "still " if event["reminder"] else ""
    reason = f": {event['reason']}" if event["reason"] else ""
    return f"{event['subject']} {still}{kind}{reason}" + (f" ({count:,} times{since})" if count > 1 else "")


def message_text(node: str, notify: str, events: list[AlertEvent]) -> str:
    """The standard input of the program that delivers an alert: one line of JSON."""
    message = {"v": VERSION, "notify": notify, "node": node, "subject": subject_line(node, events), "events": events}
    return json.dumps(message, ensure_ascii=False) + "\n"


def subject_line(node: str, events: list[AlertEvent]) -> str:
    others = f" and {len(events) - 1} more" if len(events) > 1 else ""
    return f"[{node}] {events[-1]['summary']}{others}"


def end_of_output(event: AlertEvent) -> str | None:
    """The last 4 KiB of the output in an event."""
    output: str | None = event["output"]
    return output and output.encode(errors="replace")[-OUTPUT_BYTES:].decode(errors="ignore")


def message_environment(node: str, notify: str, events: list[AlertEvent]) -> tuple[tuple[str, str], ...]:
    """The variables of the program that delivers an alert. They describe its last event; unknown values are empty."""
    event = events[-1]
    run = event["run"] or {}

    def text(value: object) -> str:
        return "" if value is None else str(value)

    return (
        ("SCHED_NOTIFY", notify),
        ("SCHED_NOTIFY_KIND", event["kind"]),
        ("SCHED_NOTIFY_SUBJECT", subject_line(node, events)),
        ("SCHED_NOTIFY_EVENTS", str(len(events))),
        ("SCHED_NOTIFY_NAME", event["subject"]),
        ("SCHED_NOTIFY_REASON", text(event["reason"])),
        ("SCHED_NOTIFY_INCIDENT", text(event["incident"])),
        ("SCHED_NOTIFY_COUNT", str(event["count"])),
        ("SCHED_NOTIFY_SINCE", str(event["since_ms"] // 1000)),
        ("SCHED_NOTIFY_JOB_ID", text(run.get("id"))),
        ("SCHED_NOTIFY_RUN_ID", text(run.get("run"))),
        ("SCHED_NOTIFY_COMMAND", text(run.get("command"))),
        ("SCHED_NOTIFY_STATE", text(run.get("state"))),
        ("SCHED_NOTIFY_EXIT_STATUS", text(run.get("exit_status"))),
        ("SCHED_NOTIFY_OUTPUT", text(end_of_output(event))),
    )
