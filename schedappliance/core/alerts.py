"""Alerts: notes the ends of runs that `notify` stanzas watch, reminds, and adds the jobs that deliver what is told.

Rule: an event, its incident and the job that delivers the alert are one transaction. No event of a delivery is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schedappliance.commands.phrases import run_data
from schedappliance.commands.view import NO_NUMBERS
from schedappliance.engine.attempts import tail
from schedappliance.engine.incidents import (
    RECOVERED,
    Event,
    Incident,
    Subject,
    after_telling,
    message_environment,
    message_text,
    summary,
    tells_recovery,
    worse,
)
from schedappliance.engine.records import CONFIG_USER, Job, NewJob, job_id
from schedappliance.engine.states import RunState
from schedappliance.model.commands import Command, read_command

if TYPE_CHECKING:
    from schedappliance.core.state import State
    from schedappliance.model.configuration import Notify
    from schedappliance.store.runs import PastRun

# One turn reminds of at most this many incidents.
MOST_REMINDERS = 100


def run_ended(state: State, run: PastRun) -> None:
    """Notes that a run has ended: a delivery of an alert, or a run that stanzas may watch."""
    if run.origin == "stanza" and run.name is None and state.store.incidents.is_alert(run.key.job):
        _end_delivery(state, run)
    elif run.state == RunState.SUCCEEDED:
        if state.open_incidents:
            _recover(state, run)
    else:
        watching = [one for one in state.configuration.notify.values() if run.state in one.when]
        program = _program_of(run) if watching else None
        for notify in watching:
            if notify.watches(run.name, program):
                _worsen(state, notify, run, program)


def _end_delivery(state: State, run: PastRun) -> None:
    state.store.incidents.end_alert(run.key.job)
    if run.state != RunState.SUCCEEDED:
        state.log("error", f"run {state.named(run.key)} has not delivered its alert: {run.state}: {run.reason}")


def _worsen(state: State, notify: Notify, run: PastRun, program: str | None) -> None:
    subject = _subject_of(state, run, program)
    if subject is None:
        return
    incidents = state.store.incidents
    incident, is_told = worse(
        incidents.find(subject, notify.name), notify, subject, run.state, state.moment.wall, run.key
    )
    incident = incidents.put(incident)
    if is_told:
        _tell(state, notify, _event_of(state, incident, run.state, run))
    state.read_incidents()


def _recover(state: State, run: PastRun) -> None:
    """Closes the incidents of a run that has succeeded."""
    subject = _subject_of(state, run, _program_of(run))
    for incident in state.store.incidents.of(subject) if subject else ():
        state.store.incidents.close(incident)
        notify = state.configuration.notify.get(incident.notify)
        if notify and tells_recovery(incident, notify):
            _tell(state, notify, _event_of(state, incident, RECOVERED, run))
        state.read_incidents()


def remind(state: State) -> None:
    """Tells the incidents again whose reminder is due."""
    now = state.moment.wall
    for incident in state.store.incidents.due(now, MOST_REMINDERS):
        notify = state.configuration.notify.get(incident.notify)
        if notify is None or not _is_watched(state, notify, incident):
            state.store.incidents.close(incident)
            continue
        state.store.incidents.put(after_telling(incident, notify, now)._replace(remind_ms=now + notify.again_ms))
        run = state.store.runs.past(incident.last_run) if incident.last_run else None
        _tell(state, notify, {**_event_of(state, incident, incident.kind, run), "reminder": True})
    state.read_incidents()


def drop_outdated(state: State) -> None:
    """Closes the incidents that no stanza watches any more, and those of jobs that are gone or switched off."""
    for incident in state.store.incidents.all() if state.open_incidents else ():
        notify = state.configuration.notify.get(incident.notify)
        if notify is None or not _is_watched(state, notify, incident):
            state.store.incidents.close(incident)
            state.read_incidents()


def _is_watched(state: State, notify: Notify, incident: Incident) -> bool:
    name, number = incident.subject
    if not number:
        return notify.watches(None, name)
    job = state.store.jobs.get(number)
    return job is not None and job.enabled and notify.watches(job.declared, _program_in(job.command))


def _subject_of(state: State, run: PastRun, program: str | None) -> Subject | None:
    """What has the incident of a run; None for a command without a program that no recurrent job has given."""
    if run.name is not None:
        return Subject(run.name, run.key.job)
    job: Job | None = state.store.jobs.get(run.key.job)
    if job is not None and job.recurrent:
        return Subject(job_id(state.store.node, job.number), job.number)
    return Subject(program, 0) if program is not None else None


def _program_of(run: PastRun) -> str | None:
    """The program of a run. One that did not start has none in its row."""
    return run.program or _program_in(read_command(run.command).command)


def _program_in(command: Command | None) -> str | None:
    return command.bare.words[0] if command is not None and command.bare.form == "run" else None


def _event_of(state: State, incident: Incident, kind: str, run: PastRun | None) -> Event:
    output = state.store.runs.output(run.key) if run else None
    event: Event = {
        "kind": kind,
        "at_ms": state.moment.wall,
        "subject": incident.subject.name,
        "reason": run.reason if run else None,
        "incident": incident.number,
        "count": incident.times,
        "since_ms": incident.since_ms,
        "reminder": False,
        "run": run_data(state.store.node, run) if run else None,
        "output": tail(output[0]).decode(errors="replace") if output else None,
    }
    return event


def _tell(state: State, notify: Notify, event: Event) -> None:
    """Adds the job that delivers an event."""
    event = {**event, "summary": summary(event)}
    text = f"alert {notify.name}: {event['summary']}"
    if not state.store.jobs.has_numbers():
        state.log("error", f"{text}: it cannot be told: {'; '.join(NO_NUMBERS)}")
        return
    now = state.moment.wall
    number = state.store.jobs.add(NewJob("run", now, None, notify.command.command, CONFIG_USER, "stanza"), now)
    state.store.incidents.add_alert(number, notify.name, event)
    state.log("info", f"{text}: job {job_id(state.store.node, number)}: {notify.command.command.text}")


def message(state: State, job: int) -> tuple[tuple[tuple[str, str], ...], str] | None:
    """The variables and the standard input of the run that delivers an alert; None for another run."""
    alert = state.store.incidents.alert(job)
    if alert is None:
        return None
    node = state.store.node
    return message_environment(node, *alert), message_text(node, *alert)
