"""Alerts: notes the events that `notify` stanzas watch, and adds the jobs that deliver alerts and reminders.

Rule: an event, its incident and the job that delivers the alert are one transaction. A delivery causes no alert.
"""

# Example: the stanza `notify "ops" { command = "run tell"  again = 1h }`, and the job `nightly` begins to fail.
#
#   run_ended      The run has failed. `_count_in_incident` opens an incident of `nightly` for the stanza.
#   _add_alert     adds a job `run tell`, which is due now, and stores the event for it.
#   message_of     That job starts, and its program gets the event. At its end, `end_delivery` notes whether it succeeded.
#   run_ended      The next run fails too. The incident counts it, and nobody is told again.
#   remind         After an hour, `_add_alert` tells the incident once more.
#   run_ended      A run succeeds. `_recover` closes the incident and tells that.
#
# Incidents begin elsewhere too: of the appliance itself in `follow_troubles` or `reload_ended`, of a run that takes too long
# in `note_late_runs`. An event that opens no incident, such as `output`, is told each time. So is every event of a stanza
# without incidents.

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from schedappliance.commands.phrases import incident_data, run_data
from schedappliance.commands.view import NO_NUMBERS
from schedappliance.engine.attempts import TAIL_BYTES, tail
from schedappliance.engine.incidents import (
    ITSELF,
    LATE,
    LATE_MS,
    RECOVERED,
    USUAL_RUNS,
    AlertEvent,
    Incident,
    Subject,
    end_of_output,
    message_environment,
    message_text,
    summary,
    tells_recovery,
    usual_duration,
    when_late,
    with_alert,
    with_delivery,
    with_event,
    with_troubles,
)
from schedappliance.engine.reasons import longer_than_usual
from schedappliance.engine.records import CONFIG_USER, Job, NewJob, RunKey, job_id
from schedappliance.engine.schedule import NoSchedule
from schedappliance.engine.states import FAILURES, RunState
from schedappliance.model.calendars.rule import CalendarRule
from schedappliance.model.calendars.zones import LOCAL
from schedappliance.model.commands import Command, read_command
from schedappliance.model.listings import OF_ITSELF

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Set

    from schedappliance.core.state import State
    from schedappliance.engine.attempts import Running
    from schedappliance.model.configuration import Notify
    from schedappliance.store.history import PastRun
    from schedappliance.store.incidents import Alert

STARTED, OUTPUT, DEGRADED, RELOAD_REFUSED = "started", "output", "degraded", "reload_refused"
# The events of runs that open an incident.
WITH_INCIDENT = (*FAILURES, RunState.MISSED, RunState.SKIPPED, LATE)
# The subjects of what is wrong with the appliance itself.
APPLIANCE, CONFIGURATION = (Subject(name, ITSELF) for name in OF_ITSELF)
# For a run that is never late, in place of the boot instant from which it is late.
NEVER = sys.maxsize
# The most bytes of output in the event `output`: as many as `output_limit` keeps by default. Other events have TAIL_BYTES.
WHOLE_BYTES = 64 * 1024
# One turn reminds of at most this many incidents.
MOST_REMINDERS = 100
# One turn compares at most this many incidents with the stanzas, or twice as many after a reload. The next one follows soon.
MOST_COMPARED, COMPARE_AGAIN_MS = 500, 100
# An event that an incident counts, and an alert, count as an answer of this size: about a hundred alerts share a turn. An alert
# takes up to a millisecond, with the one that gives way to it.
EVENT_BYTES, ALERT_BYTES = 4 * 1024, 8 * 1024


# The starts and ends of runs


def run_started(state: State, key: RunKey) -> None:
    """Notes that the first attempt of a run begins."""
    watching = [one for one in state.configuration.notify.values() if STARTED in one.when]
    if not watching or state.store.incidents.is_alert(key.job):
        return
    run = state.store.runs.past(key)
    assert run is not None, key
    for notify in watching:
        if notify.watches(run.name, _program_of(run)):
            _add_alert(state, notify, _plain_event(state, _name_of(state, run), STARTED, run, None), run)


def run_ended(state: State, run: PastRun) -> None:
    """Notes that a run has ended: a delivery, or a run that stanzas may watch."""
    if run.origin == "stanza" and run.name is None and (alert := state.store.incidents.alert(run.key.job)):
        is_delivered = run.state == RunState.SUCCEEDED
        end_delivery(state, run.key.job, alert, is_delivered)
        if not is_delivered:
            state.log("error", f"run {state.named(run.key)} has not delivered its alert: {run.state}: {run.reason}")
        return
    recoveries: set[str] = set()
    if run.state == RunState.SUCCEEDED and state.has_incidents and (subject := _subject_of(state, run)):
        recoveries = _recover(state, subject, run)
    for notify in state.configuration.notify.values():
        kinds = [kind for kind in (run.state, *([OUTPUT] if run.has_output else [])) if kind in notify.when]
        if kinds and notify.name not in recoveries and notify.watches(run.name, _program_of(run)):
            _tell_run(state, notify, run, kinds, run.reason)


def _tell_run(state: State, notify: Notify, run: PastRun, kinds: list[str], reason: str | None) -> None:
    """Tells one event of a run to a stanza. `kinds`: the possible ones, such as `failed` and then `output`.

    An event that an incident only counts is not told: the incident waits for more (`after`), or was told before. Then the next
    kind is tried.
    """
    for kind in kinds:
        if kind in WITH_INCIDENT and notify.has_incidents:
            subject = _subject_of(state, run)
            if subject and _count_in_incident(state, notify, subject, kind, run, reason):
                return
        else:
            _add_alert(state, notify, _plain_event(state, _name_of(state, run), kind, run, reason), run)
            return


def end_delivery(state: State, job: int, alert: Alert, is_delivered: bool) -> None:
    """Forgets an alert that was delivered or never will be, and notes that in its incidents. A failure causes no other alert."""
    incidents = state.store.incidents
    incidents.end_alert(job)
    state.count("alerts_total", alert.notify, "delivered" if is_delivered else "failed")
    for number in sorted({event["incident"] for event in alert.events} - {None}):
        if (incident := incidents.get(number)) and is_delivered:
            _after_change(state, "told", incidents.put(with_delivery(incident, job, state.moment.wall)))
        elif incident:
            _after_change(state, "not_told", incident)


# Runs that take too long


def expect_late_end(state: State, running: Running) -> None:
    """Plans the first check whether a run takes too long, LATE_MS after its start. Does nothing if no stanza watches this."""
    if not any(LATE in notify.when for notify in state.configuration.notify.values()):
        return
    check_at = running.started_at + LATE_MS
    state.late_from = check_at if state.late_from is None else min(state.late_from, check_at)


def _expect_late_ends(state: State) -> None:
    """Works out again when runs are late, after the stanzas may have changed."""
    for key, running in list(state.running.items()):
        state.running[key] = replace(running, late_at=None)
        expect_late_end(state, running)


def note_late_runs(state: State, ended: Set[RunKey]) -> None:
    """Notes the runs that take much longer than usual. `ended`: runs whose programs have ended already."""
    state.late_from = None
    for key, running in list(state.running.items()):
        if running.ending is not None:
            continue
        late_at = running.late_at or running.started_at + LATE_MS
        if late_at <= state.moment.boot and key not in ended:
            late_at = _note_late(state, running)
            state.running[key] = replace(running, late_at=late_at)
        if late_at != NEVER:
            state.late_from = late_at if state.late_from is None else min(state.late_from, late_at)


def _note_late(state: State, running: Running) -> int:
    """Notes a run for each stanza for which it is late now.

    Returns the boot instant from which it will be late for the next stanza, or NEVER.
    """
    key = running.key.run
    incidents = state.store.incidents
    watching = [one for one in state.configuration.notify.values() if LATE in one.when]
    usual = usual_duration(state.store.runs.durations(key, USUAL_RUNS)) if watching else None
    if usual is None:
        return NEVER
    run = state.store.runs.past(key)
    noted = incidents.noted_late(key)
    later = [NEVER]
    assert run is not None, key
    reason = longer_than_usual(state.moment.boot - running.started_at, usual)
    for notify in watching:
        if notify.name in noted or not notify.watches(run.name, running.program):
            continue
        if (at := when_late(running.started_at, usual, notify)) > state.moment.boot:
            later.append(at)
        else:
            incidents.note_late(key, notify.name)
            _tell_run(state, notify, run, [LATE], reason)
    return min(later)


# The appliance itself


def follow_troubles(state: State) -> None:
    """Notes whether the appliance is degraded."""
    state.troubles_in_incidents = state.status.troubles
    _follow_troubles(state, APPLIANCE, DEGRADED, state.status.troubles_by_kind)


def reload_ended(state: State, mistake: str | None) -> None:
    """Notes that stanza files were rejected for a mistake, or accepted (None)."""
    if mistake is None:
        _expect_late_ends(state)
    _follow_troubles(state, CONFIGURATION, RELOAD_REFUSED, {RELOAD_REFUSED: mistake})


def _follow_troubles(state: State, subject: Subject, kind: str, troubles_by_kind: Mapping[str, str | None]) -> None:
    """Tells the troubles of the appliance itself that have not been told. If there are none now, closes the incidents."""
    troubles = {name: why for name, why in troubles_by_kind.items() if why}
    if troubles:
        for notify in state.configuration.notify.values():
            if kind in notify.when:
                _tell_troubles(state, notify, subject, kind, troubles)
    elif state.has_incidents:
        _recover(state, subject, None)


def _tell_troubles(state: State, notify: Notify, subject: Subject, kind: str, troubles: dict[str, str]) -> None:
    """Tells all troubles if there is another kind of them than people know. The new ones come first."""
    incidents = state.store.incidents
    before = incidents.find(subject, notify.name)
    incident = with_troubles(before, notify, subject, kind, state.moment.wall, frozenset(troubles))
    if incident is None:
        return
    known = before.troubles if before else frozenset()
    reason = "; ".join(troubles[name] for name in sorted(troubles, key=known.__contains__))
    incident = incidents.put(incident)
    incident = _tell(state, notify, incident, _event_of(state, incident, kind, None, reason), None)
    _after_change(state, "repeated" if before else "begun", incident)


def _trouble_now(state: State, kind: str) -> str | None:
    """What is wrong with the appliance itself now, for a reminder."""
    if kind == DEGRADED:
        return state.status.troubles
    mistakes = state.status.last_reload.lines
    return mistakes[0] if kind == RELOAD_REFUSED and mistakes else None


# Incidents


def _count_in_incident(
    state: State, notify: Notify, subject: Subject, kind: str, run: PastRun, reason: str | None
) -> bool:
    """Opens an incident of a job, or counts one more event in it. Returns whether the event is told.

    An incident ends with its event if the stanza does not watch its job any more: the run outlasted a change of the job.
    That of a job that is gone ends after all runs of the last claim; see `end_incidents_of_gone`.
    """
    state.spent += EVENT_BYTES
    incidents = state.store.incidents
    before = incidents.find(subject, notify.name)
    incident, is_told = with_event(before, notify, subject, kind, state.moment.wall, run.key)
    incident = incidents.put(incident)
    if is_told:
        incident = _tell(state, notify, incident, _event_of(state, incident, kind, run, reason), run)
    _after_change(state, "repeated" if before else "begun", incident)
    is_gone = subject.job > 0 and state.store.jobs.get(subject.job) is None
    if not is_gone and not _is_watched(state, notify, incident):
        _close(state, incident, "ended")
    return is_told


def _tell(state: State, notify: Notify, incident: Incident, event: AlertEvent, run: PastRun | None) -> Incident:
    """Adds an event of an incident to an alert."""
    delivery = _add_alert(state, notify, event, run)
    return state.store.incidents.put(incident._replace(delivery=delivery))


def _recover(state: State, subject: Subject, run: PastRun | None) -> set[str]:
    """Closes the incidents of a subject that has recovered. Returns the names of the stanzas that tell the recovery."""
    stanzas: set[str] = set()
    for incident in state.store.incidents.of(subject):
        _close(state, incident, "recovered")
        notify = state.configuration.notify.get(incident.notify)
        if notify and tells_recovery(incident, notify):
            stanzas.add(notify.name)
            _add_alert(state, notify, _event_of(state, incident, RECOVERED, run, None), run)
    return stanzas


def remind(state: State) -> None:
    """Tells again the incidents whose reminders are due, unless their stanzas want no reminders any more."""
    now = state.moment.wall
    for incident in state.store.incidents.due(now, MOST_REMINDERS):
        notify = _notify_of(state, incident)
        if notify is None:
            _close(state, incident, "ended")
        elif not notify.again_ms:
            state.store.incidents.put(incident._replace(remind_ms=None))
        else:
            run = state.store.runs.past(incident.last_run) if incident.last_run else None
            reason = run.reason if run else _trouble_now(state, incident.kind)
            event = {**_event_of(state, incident, incident.kind, run, reason), "reminder": True}
            _after_change(state, "reminded", _tell(state, notify, with_alert(incident, notify, now), event, run))
    state.read_incidents()


def note_acknowledgement(state: State, incidents: tuple[Incident, ...]) -> None:
    """Adds to the news that a user has acknowledged incidents, whose rows the command has changed."""
    for incident in incidents:
        _after_change(state, "acknowledged", incident)


def close_outdated_incidents(state: State, jobs: Sequence[int] | None = None) -> None:
    """Closes the incidents that no stanza watches any more, and forgets the alerts whose jobs were deleted.

    `jobs`: only those that were changed or deleted, since there can be thousands of others. None: any, over several turns.
    """
    incidents = state.store.incidents
    if jobs is None:
        state.compared_incident = None
        go_on_comparing(state)
    elif state.has_incidents:
        for job in jobs:
            _close_if_outdated(state, incidents.of_job(job), is_gone_deleted=True)
    incidents.end_left_alerts(jobs)


def go_on_comparing(state: State) -> None:
    """Closes those of the next incidents that no stanza watches any more. Later turns do so with the others."""
    incidents = state.store.incidents.all(state.compared_incident or 0, MOST_COMPARED)
    _close_if_outdated(state, incidents, is_gone_deleted=False)
    state.compared_incident = incidents[-1].number if len(incidents) == MOST_COMPARED else None


def _close_if_outdated(state: State, incidents: list[Incident], is_gone_deleted: bool) -> None:
    """`is_gone_deleted`: a job that is gone was deleted, so its last run does not count."""
    for incident in incidents:
        is_deleted = is_gone_deleted and state.store.jobs.get(incident.subject.job) is None
        if is_deleted or _notify_of(state, incident) is None:
            _close(state, incident, "ended")


def end_incidents_of_gone(state: State, job: int) -> None:
    """Closes the incidents of a job that is gone and whose last run has ended: it cannot recover any more."""
    if not state.has_incidents or state.live.of_job(job):
        return
    incidents = state.store.incidents.of_job(job)
    if incidents and state.store.jobs.get(job) is None:
        for incident in incidents:
            _close(state, incident, "ended")


def _close(state: State, incident: Incident, change: str) -> None:
    state.store.incidents.close(incident)
    _after_change(state, change, incident)


def _after_change(state: State, change: str, incident: Incident) -> None:
    """Follows the change of an incident's row: reads the mirror of the incidents again, and adds the change to the news."""
    state.read_incidents()
    if state.is_watched:
        state.tell("incident", change=change, incident=incident_data(state.store, incident))


def _notify_of(state: State, incident: Incident) -> Notify | None:
    """The stanza of an incident; None if it is gone or no longer watches the job, or if the job is over or switched off."""
    notify = state.configuration.notify.get(incident.notify)
    return notify if notify is not None and _is_watched(state, notify, incident) else None


def _is_watched(state: State, notify: Notify, incident: Incident) -> bool:
    name, number = incident.subject
    if number == ITSELF:
        return incident.kind in notify.when
    if not notify.has_incidents:
        return False
    if not number:
        # The subject is a program.
        return name in state.configuration.programs and notify.watches(None, name)
    job = state.store.jobs.get(number)
    if job is None:
        run = state.store.runs.past(incident.last_run) if state.live.of_job(number) and incident.last_run else None
        return run is not None and notify.watches(run.name, _program_of(run))
    return job.enabled and notify.watches(job.declared, _program_in(job.command))


# What an event is about


def _subject_of(state: State, run: PastRun) -> Subject | None:
    """The subject of a run's incident: its job if that is declared or recurs, else its program.

    A job with an incident recurs, also if it is gone since its last run was claimed. None for a job that runs a command
    without a program once.
    """
    number = run.key.job
    if run.name is not None:
        return Subject(run.name, number)
    job: Job | None = state.store.jobs.get(number)
    is_recurrent = bool(state.store.incidents.of_job(number)) if job is None else job.recurrent
    if is_recurrent:
        return Subject(job_id(state.store.node, number), number)
    program = _program_of(run)
    return Subject(program, 0) if program is not None else None


def _name_of(state: State, run: PastRun) -> str:
    subject = _subject_of(state, run)
    return subject.name if subject else job_id(state.store.node, run.key.job)


def _program_of(run: PastRun) -> str | None:
    """The program of a run. The row of a run that did not start has none, so its command tells."""
    return run.program or _program_in(read_command(run.command).command)


def _program_in(command: Command | None) -> str | None:
    return command.bare.words[0] if command is not None and command.bare.form == "run" else None


# Alerts


def _add_alert(state: State, notify: Notify, event: AlertEvent, run: PastRun | None) -> int | None:
    """Adds the job that delivers an event. If an alert of the stanza still collects events, adds the event to it instead.

    `run`: which the event is about; None for the appliance itself. Returns the number of the job; None if the event cannot be delivered.
    """
    state.spent += ALERT_BYTES
    event = {**event, "summary": summary(event, state.zone)}
    if notify.collect_ms or notify.at:
        event["output"] = end_of_output(event)
    text = f"alert {notify.name}: {event['summary']}"
    if not state.store.jobs.has_numbers():
        state.log("error", f"{text}: it cannot be delivered: {'; '.join(NO_NUMBERS)}")
        return None
    state.alerted |= {notify.name}
    now = state.moment.wall
    uid = state.store.runs.uid(run.key) if run else 0
    times = _times(state, notify)
    due = _due(state, notify, times)
    if (notify.collect_ms or notify.at) and (waiting := _collecting(state, notify, due, times)) is not None:
        state.store.incidents.add_alert(waiting, notify.name, event, uid)
        return waiting
    number = state.store.jobs.add(
        NewJob("run", due, None, notify.command.command, CONFIG_USER, "stanza", schedule=times), now
    )
    state.store.incidents.add_alert(number, notify.name, event, uid)
    state.log("info", f"{text}: job {job_id(state.store.node, number)}: {notify.command.command.text}")
    return number


def _collecting(state: State, notify: Notify, due_ms: int, times: str | None) -> int | None:
    """The job of the alert that an event joins, which is due at `due_ms` by its stanza; None if it needs an alert of its own.

    An alert from before a reload may go to another program, or be due at no time of `at`. One that is due later is moved.
    """
    number = state.store.incidents.collecting(notify.name)
    job = None if number is None else state.store.jobs.get(number)
    if job is None or job.next_run_ms is None or job.text != notify.command.command.text:
        return None
    if notify.at and state.moment.wall < job.next_run_ms < due_ms:
        return None
    if job.next_run_ms > due_ms:
        state.store.jobs.set_times(job.number, due_ms, times)
    return number


def _times(state: State, notify: Notify) -> str | None:
    """The text of the calendar of `at`; None without `at`."""
    if notify.at is None:
        return None
    rule = CalendarRule(syntax="calendar", expressions=notify.at.value, zone=state.configuration.zone or LOCAL)
    return rule.text(state.schedules.days)


def _due(state: State, notify: Notify, times: str | None) -> int:
    """When an alert that begins now is due. One whose time cannot be known is due at once."""
    now = state.moment.wall
    if times is None:
        return now + notify.collect_ms
    try:
        return state.schedules.calendar(times).next_after(now) or now
    except NoSchedule:
        return now


def _event_of(state: State, incident: Incident, kind: str, run: PastRun | None, reason: str | None) -> AlertEvent:
    """An event of an incident."""
    event = _plain_event(state, incident.subject.name, kind, run, reason)
    return {**event, "incident": incident.number, "count": incident.times, "since_ms": incident.since_ms}


def _plain_event(state: State, name: str, kind: str, run: PastRun | None, reason: str | None) -> AlertEvent:
    """An event that belongs to no incident."""
    now = state.moment.wall
    return {
        "kind": kind,
        "at_ms": now,
        "subject": name,
        "reason": reason,
        "incident": None,
        "count": 1,
        "since_ms": now,
        "reminder": False,
        "run": run_data(state.store.node, run, state.moment.boot) if run else None,
        "output": _output_of(state, run, WHOLE_BYTES if kind == OUTPUT else TAIL_BYTES) if run else None,
    }


def _output_of(state: State, run: PastRun, most: int) -> str | None:
    """The end of the output of a program, or the beginning of the answer of a command: at most so many bytes."""
    output = state.store.runs.output(run.key)
    if output is not None:
        return tail(output[0], most).decode(errors="replace")
    answer = state.store.runs.answer(run.key)
    return answer and answer[:most]


class Message(NamedTuple):
    """What a run that delivers an alert gets."""

    env: tuple[tuple[str, str], ...]
    stdin: str


def message_of(state: State, job: int) -> Message | None:
    """The message that a run of this job delivers; None if it delivers no alert."""
    alert = state.store.incidents.alert(job)
    if alert is None:
        return None
    node = state.store.node
    return Message(message_environment(node, *alert), message_text(node, *alert))
