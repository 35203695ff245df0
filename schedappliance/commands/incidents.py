"""`sched incidents` lists what has failed and not recovered; `sched ack` acknowledges it.

Rule: an acknowledged incident lasts until its job recovers, like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schedappliance.commands.outcome import Outcome
from schedappliance.commands.phrases import incident_data, time_text
from schedappliance.diagnostics import counted, shortened
from schedappliance.engine.incidents import Incident, with_acknowledgement
from schedappliance.engine.records import job_id, job_number
from schedappliance.model.commands import Command, next_page
from schedappliance.model.listings import read_wanted_incidents
from schedappliance.store.incidents import MORE_COUNTED
from schedappliance.syntax.command import Word

if TYPE_CHECKING:
    from schedappliance.commands.view import View

# SQLite has no larger numbers.
MOST_DIGITS = 18
HEADER = "INCIDENT\tJOB\tEVENT\tCOUNT\tSINCE\tNOTIFY\tTOLD"


def incidents(view: View, command: Command) -> Outcome:
    """Lists the incidents, those of declared jobs first, and counts the alerts that are not delivered yet.

    The last line of a cut list says how to get more.
    """
    wanted = read_wanted_incidents([Word(word, 0, 0) for word in command.words])
    rows, more = view.store.incidents.page(wanted.after, wanted.limit)
    waiting = view.store.incidents.count_alerts()
    following = next_page(command, "after", str(rows[-1].number)) if more else None
    at_least = "at least " if more == MORE_COUNTED else ""
    note = following and f"{at_least}{counted(more, 'more incident')}: `{following}`"
    lines = [HEADER, *(_row(view, one) for one in rows)] if rows else [f"no {'more ' * bool(wanted.after)}incidents"]
    lines += [f"{counted(waiting, 'alert')} not delivered yet"] if waiting else []
    data = {"incidents": [incident_data(view.store, one) for one in rows], "undelivered": waiting}
    answer = view.answer("\n".join([*lines, note] if note else lines), data)
    return Outcome(answer._replace(note=note, next=following) if view.order.as_json else answer)


def acknowledge(view: View, command: Command) -> Outcome:
    """Acknowledges the incidents that a word names. One that is acknowledged already stays as it is."""
    (word,) = command.words
    number = int(word) if word.isascii() and word.isdecimal() and len(word) <= MOST_DIGITS else None
    job = job_number(view.store.node, word)
    name = word if number is None and job is None else None
    if name is not None:
        job = view.store.jobs.number_of(name)
    rows = view.store.incidents.named(number, name, job)
    if not rows:
        message = f"no incident has the number, job or program `{shortened(word)}`"
        raise view.reject("E501", message, "see `sched incidents`")
    name, now = view.order.user.name, view.moment.wall
    put = view.store.incidents.put
    acknowledged = tuple([put(with_acknowledgement(one, name, now)) for one in rows if one.acked_ms is None])
    rows = sorted([*(one for one in rows if one.acked_ms is not None), *acknowledged])
    lines = (f"incident {one.number}, {one.subject.name}: {_told(view, one)}" for one in rows)
    data = {"incidents": [incident_data(view.store, one) for one in rows]}
    return Outcome(view.answer("\n".join(lines), data), acknowledged=acknowledged)


def incident_lines(view: View, job: int) -> list[str]:
    """What `sched why` says about the incidents of a job."""
    return [
        f"incident {one.number} since {time_text(one.since_ms, view.zone)}: {counted(one.times, 'event')}, the last one"
        f" {one.kind.replace('_', ' ')}; told by notify `{one.notify}`: {_told(view, one)}"
        for one in view.store.incidents.of_job(job)
    ]


def _told(view: View, incident: Incident) -> str:
    """Who has acknowledged an incident, or when it was told, and which job could not deliver its last alert."""
    if incident.acked_ms is not None:
        return f"acknowledged by {incident.acked_by}"
    times = [] if incident.told_ms is None else [time_text(incident.told_ms, view.zone)]
    if incident.delivery is None or view.store.incidents.is_alert(incident.delivery):
        return times[0] if times else "not yet"
    return ", then ".join([*times, f"not delivered by {job_id(view.store.node, incident.delivery)}"])


def _row(view: View, incident: Incident) -> str:
    name, kind, since = incident.subject.name, incident.kind.replace("_", " "), time_text(incident.since_ms, view.zone)
    return f"{incident.number}\t{name}\t{kind}\t{incident.times}\t{since}\t{incident.notify}\t{_told(view, incident)}"
