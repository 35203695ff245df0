"""Alerts: a model of which ends of runs are told, and what must hold for the alerts that are stored.

Rule: the model knows only the rows of jobs and runs, in the order of their changes, and the `notify` stanza of files.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from schedappliance.core import alert_limits
from schedappliance.engine.incidents import LEFT_OUT
from schedappliance.engine.reasons import PERHAPS_NOT_STARTED, TOO_MANY_ALERTS
from schedappliance.engine.records import RunKey
from schedappliance.engine.states import FAILURES, RunState
from tests.simulation.files import AFTER
from tests.simulation.invariants import is_deleted
from tests.simulation.journal import LIVE, AlertRow, AttemptRow, Change, IncidentRow, RunRow
from tests.simulation.view import View
from tests.support.core import MINUTE


def follow(view: View, change: Change) -> Iterator[str]:
    """Follows one change, before it is applied to the rows. Yields what is wrong."""
    match change:
        case Change(RunRow() | None as old, RunRow() as run) if run.state not in LIVE:
            if old is None or old.state in LIVE:
                _end(view, run)
        case Change(_, IncidentRow() as incident):
            view.past.subjects[incident.number] = incident.job
        case Change(IncidentRow() as incident, None):
            yield from _close(view, incident)
        case Change(_, AttemptRow() as attempt) if attempt.state == RunState.SUCCEEDED:
            view.past.lasted.setdefault(attempt.job, []).append(attempt.took_ms or 0)
        case Change(None, AlertRow() as alert) if alert.kind == LEFT_OUT:
            view.past.left_out += alert.stands_for
        case Change(None, AlertRow() as alert) if alert.late is not None:
            yield from _tell_late(view, alert.late)
        case Change(None, AlertRow() as alert):
            job = view.past.subjects[alert.incident]
            if not alert.is_reminder:
                view.past.alerts[job, "recovered" if alert.kind == "recovered" else "failing"] += 1
            elif job not in view.past.told:
                yield f"people are reminded of job {job}, which has not failed: {alert}"
        case Change(AlertRow() as alert, None):
            yield from _forget_alert(view, alert)


def _forget_alert(view: View, alert: AlertRow) -> Iterator[str]:
    """An alert is forgotten when its delivery has ended, or when another one stands for it."""
    delivery = view.rows.runs.get(RunKey(alert.job, 1))
    waits = alert.job in view.rows.jobs or (delivery is not None and delivery.state in LIVE)
    if waits and alert.kind != LEFT_OUT:
        yield f"{alert} is forgotten before its delivery"
    is_left_out = not is_deleted(view, alert.job) if delivery is None else delivery.reason == TOO_MANY_ALERTS
    if waits or is_left_out:
        view.past.given_up += alert.stands_for
    elif delivery is not None and delivery.reason == PERHAPS_NOT_STARTED:
        yield f"{alert} is lost: {delivery}"


def _end(view: View, run: RunRow) -> None:
    """Notes the alert that the end of a run must make."""
    past, job = view.past, view.rows.jobs.get(run.job)
    if job is None or job.declared is None or not any(policy.notify for policy in view.policies):
        return
    if run.state in FAILURES:
        past.streaks[run.job] += 1
        if past.streaks[run.job] == AFTER:
            past.due_alerts[run.job, "failing"] += 1
            past.told.add(run.job)
    elif run.state == RunState.SUCCEEDED:
        past.due_alerts[run.job, "recovered"] += run.job in past.told
        _forget(view, run.job)


def _close(view: View, incident: IncidentRow) -> Iterator[str]:
    """An incident ends with a success of its job, or with its job."""
    job = view.rows.jobs.get(incident.job)
    if job is not None and job.enabled and view.past.streaks[incident.job]:
        yield f"{incident} is closed, its job has failed {view.past.streaks[incident.job]} times: {job}"
    _forget(view, incident.job)


def _forget(view: View, job: int) -> None:
    view.past.streaks.pop(job, None)
    view.past.told.discard(job)


def _tell_late(view: View, run: RunKey) -> Iterator[str]:
    if run in view.past.late:
        yield f"{run} is told as late again"
    view.past.late.add(run)
    (attempt,) = (one for one in view.rows.started.values() if one.key.run == run)
    shortest = min(view.past.lasted[run.job])
    if _late_from(attempt, shortest) > view.moment.boot:
        yield f"{attempt} is told as late at {view.moment.boot}, runs of its job have taken at least {shortest} ms"


def _late_from(attempt: AttemptRow, usual_ms: int) -> int:
    return attempt.started_boot_ms + max(3 * usual_ms, usual_ms + MINUTE)


def late_runs_are_told(view: View) -> Iterator[str]:
    """A run that takes longer than all before it is told. Which of these the usual one is does not matter here."""
    for attempt in view.rows.started.values() if all(policy.notify for policy in view.policies) else ():
        run, job, process = attempt.key.run, view.rows.jobs.get(attempt.job), view.processes.get(attempt.key)
        if job is None or job.declared is None or process is None or process.signals or run in view.past.late:
            continue
        known = [
            one
            for one in view.rows.runs.values()
            if one.job == run.job and one.state == RunState.SUCCEEDED and one.occurrence > run.occurrence - 100
        ]
        longest = max(view.past.lasted.get(run.job, [0]))
        if (
            len(known) >= 3
            and not view.may_overlap(attempt.program)
            and _late_from(attempt, longest) <= view.moment.boot
        ):
            yield f"{attempt} runs at {view.moment.boot}, all others took at most {longest} ms"


def each_event_is_told_once(view: View) -> Iterator[str]:
    """The alerts are stored in the step in which the runs end; each has a job or a run that delivers it."""
    past = view.past
    if +past.due_alerts != past.alerts:
        yield f"the alerts {past.alerts} are stored, {past.due_alerts} are due"
    if past.left_out != past.given_up:
        yield f"{past.given_up} events are left out, the alerts say {past.left_out}"
    past.left_out = past.given_up = 0
    # One alert is being delivered, and one is new: each may have an event that stands for others.
    waiting = sum(alert.notify == "ops" for alert in view.rows.alerts.values())
    if waiting > max(alert_limits.MOST_WAITING, 1) + 3:
        yield f"{waiting} events wait for their delivery"
    past.due_alerts.clear()
    past.alerts.clear()
    for alert in view.rows.alerts.values():
        is_lost = alert.job not in view.rows.jobs and RunKey(alert.job, 1) not in view.rows.live
        # A user may have deleted the job before its run.
        if is_lost and RunKey(alert.job, 1) in past.claimed:
            yield f"nothing delivers {alert}"
