"""Describes jobs and runs in answers: phrases for people, data for programs.

Rule: instants are milliseconds; texts show seconds since the Unix epoch, with the date.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from schedappliance.clock import local_text, span_text
from schedappliance.commands.view import View
from schedappliance.engine.records import Hold, Job, job_id, run_id
from schedappliance.engine.states import RunState
from schedappliance.model.calendars.calendar import DueTime
from schedappliance.model.calendars.pieces import Zone
from schedappliance.model.calendars.rule import UNREADABLE, CalendarRule, read_rule
from schedappliance.model.calendars.texts import end_notes
from schedappliance.model.calendars.words import option_words, rule_words
from schedappliance.model.values import seconds_text, size_text

if TYPE_CHECKING:
    from schedappliance.engine.incidents import Incident
    from schedappliance.store.history import PastRun
    from schedappliance.store.tables import Store

# One answer explains only this many queued runs, since each explanation searches the whole queue.
WAITING_LOOKED_UP = 20
EPOCH = datetime.fromtimestamp(0, UTC)


def time_text(milliseconds: int, zone: Zone) -> str:
    return f"{milliseconds // 1000} ({local_text(milliseconds, zone)})"


def hold_text(hold: Hold, zone: Zone) -> str:
    """Since when the appliance is held, until when, by whom and why."""
    until = "" if hold.ends_ms is None else f" until {time_text(hold.ends_ms, zone)}"
    reason = f": {hold.reason}" if hold.reason else ""
    return f"since {time_text(hold.since_ms, zone)}{until} by {hold.user.name}{reason}"


def nothing_starts(hold: Hold) -> str:
    """What a hold means, after `hold_text`."""
    return f"nothing new starts until {'' if hold.ends_ms is None else 'then or '}`sched release`"


def hold_data(hold: Hold | None) -> dict[str, Any] | None:
    if hold is None:
        return None
    times = {"since_ms": hold.since_ms, "ends_ms": hold.ends_ms}
    return {**times, "user": hold.user.name, "reason": hold.reason or None}


def due_text(view: View, job: Job, milliseconds: int) -> str:
    """A due time of a job, in the zone of its calendar, or of the local time that a clock change moves."""
    return zoned_text(view, job, milliseconds, special_of(view, job, milliseconds))


def zoned_text(view: View, job: Job, milliseconds: int, special: DueTime | None) -> str:
    """The same. `special`: what `special_of` says about it, which takes longer than finding the due time."""
    return local_text(milliseconds, special.zone if special else view.schedules.zone_of(job, milliseconds) or view.zone)


def special_of(view: View, job: Job, due_ms: int) -> DueTime | None:
    return view.schedules.explain(job, due_ms, view.options.configuration)


def when_text(view: View, job: Job, milliseconds: int) -> str:
    """As `time_text`, in the zone of the job's calendar."""
    return f"{milliseconds // 1000} ({due_text(view, job, milliseconds)})"


def due_notes(due: DueTime | None) -> list[str]:
    """What is special about a due time of a calendar: a clock change, delays of its own, another day, an ended list."""
    if due is None:
        return []
    written = EPOCH + timedelta(seconds=due.local)
    local = f"{written:%H:%M:%S}".removesuffix(":00")
    texts = {
        "skipped": f"{local} is skipped by the clock on {written:%Y-%m-%d}",
        "first": f"the clock shows {local} twice; this is the first time",
        "last": f"the clock shows {local} twice; this is the second time",
    }
    lines = [texts[due.change]] if due.change else []
    for name, seconds in (("spread", due.spread), ("jitter", due.jitter)):
        if seconds:
            lines.append(f"{local} plus {span_text(seconds * 1000)} of its own ({name})")
    if due.moved_from is not None:
        lines.append(f"moved from {EPOCH + timedelta(days=due.moved_from):%Y-%m-%d}")
    return [*lines, *end_notes(due)]


def due_of(view: View, run: PastRun) -> str:
    """The due time of a run, with what was special about it while its job is known. It is shown as `due_text` does."""
    job = view.store.jobs.get(run.key.job)
    if job is None:
        return time_text(run.due_ms, view.zone)
    return "; ".join([when_text(view, job, run.due_ms), *due_notes(special_of(view, job, run.due_ms))])


def understood(zone: Zone, instant_ms: int, now_ms: int, due: DueTime | None, word: str = "at") -> str:
    """What a command understood: the instant, how far away it is, and what is special about it."""
    text = f"{word} {local_text(instant_ms, zone)} (in {span_text(max(0, instant_ms - now_ms))})"
    return "; ".join([text, *due_notes(due)])


def calendar_data(text: str | None) -> dict[str, Any]:
    """The expressions and the zone of a calendar, from its text in the store; null for other jobs."""
    if text is None:
        return {"calendar": None, "zone": None}
    try:
        rule = cached_rule(text)
    except UNREADABLE:
        return {"calendar": [text], "zone": None}
    return {"calendar": list(rule.expressions), "zone": rule.zone if rule.needs_zone else None}


def calendar_words(view: View, text: str | None) -> str | None:
    """What a calendar means, from its text in the store; None for other jobs, and for a text that cannot be read."""
    try:
        return None if text is None else rule_words(rule := cached_rule(text), _zone_of(view, rule))
    except UNREADABLE:
        return None


def calendar_options(view: View, text: str | None) -> list[str]:
    """What the options of a calendar decide besides its expressions and its zone, from its text in the store."""
    try:
        return [] if text is None else list(option_words(rule := cached_rule(text), _zone_of(view, rule)))
    except UNREADABLE:
        return []


def _zone_of(view: View, rule: CalendarRule) -> Zone:
    name = rule.zone_to_show
    return view.schedules.zones.to_show(name) if name else view.zone


cached_rule = lru_cache(1024)(read_rule)


def state_text(state: str, reason: str | None) -> str:
    return state.replace("_", " ") + (f": {reason}" if reason else "")


def outcome_text(view: View, run: PastRun) -> str:
    """A run with its state and reason."""
    return f"{run_id(view.store.node, run.key)} {state_text(run.state, run.reason)}"


def as_now(view: View, runs: list[PastRun]) -> list[PastRun]:
    """The runs, with the present reason of each queued run in place of the stored one."""
    waiting = {run.key for run in [run for run in runs if run.state == RunState.QUEUED][-WAITING_LOOKED_UP:]}
    return [
        run._replace(reason=view.ask.why_waits(run.key, run.reason or "")) if run.key in waiting else run
        for run in runs
    ]


def usage(cpu_ms: int | None, memory_bytes: int | None) -> dict[str, str]:
    """What a program took, as far as it is known."""
    texts = {} if cpu_ms is None else {"cpu time": f"{seconds_text(cpu_ms)} s"}
    return texts if memory_bytes is None else texts | {"peak memory": size_text(memory_bytes)}


def incident_data(store: Store, incident: Incident) -> dict[str, Any]:
    (name, job), run, delivery = incident.subject, incident.last_run, incident.delivery
    node = store.node
    return {
        "incident": incident.number,
        "notify": incident.notify,
        "subject": name,
        "id": job_id(node, job) if job > 0 else None,
        "kind": incident.kind,
        "count": incident.times,
        "since_ms": incident.since_ms,
        "last_ms": incident.last_ms,
        "last_run": run_id(node, run) if run else None,
        "told_ms": incident.told_ms,
        "delivery": None if delivery is None else job_id(node, delivery),
        "delivery_failed": delivery is not None and not store.incidents.is_alert(delivery),
        "remind_ms": incident.remind_ms,
        "acked_ms": incident.acked_ms,
        "acked_by": incident.acked_by,
    }


def took_ms(run: PastRun, boot_ms: int) -> int | None:
    """How long the last attempt of a run took, or has taken so far; None without an attempt. `boot_ms`: now."""
    if run.state == RunState.STARTED and run.started_boot_ms is not None:
        return max(0, boot_ms - run.started_boot_ms)
    return run.took_ms


def run_data(node: str, run: PastRun, boot_ms: int) -> dict[str, Any]:
    """`boot_ms`: the boot time now."""
    return {
        "run": run_id(node, run.key),
        "sequence": run.sequence,
        "id": job_id(node, run.key.job),
        "name": run.name,
        "occurrence": run.key.occurrence,
        "due_ms": run.due_ms,
        "state": run.state,
        "reason": run.reason,
        "missed": run.missed_count,
        "missed_since_ms": run.missed_since_ms,
        "command": run.command,
        "user": run.user,
        "origin": run.origin,
        "attempts": run.attempts,
        "claimed_ms": run.claimed_ms,
        "program": run.program,
        "started_ms": run.started_ms,
        "ended_ms": run.ended_ms,
        "took_ms": took_ms(run, boot_ms),
        "exit_status": run.exit_status,
        "exit_signal": run.exit_signal,
        "cpu_ms": run.cpu_ms,
        "memory_bytes": run.memory_bytes,
        "has_output": run.has_output,
        "on_failure_of": run_id(node, run.on_failure_of) if run.on_failure_of else None,
    }


def never_runs(view: View, job: Job) -> str | None:
    """Why a job does not run, apart from being paused."""
    if not job.enabled:
        return "it does not run: its stanza has `enabled = false`"
    if job.next_run_ms is not None:
        return None
    if job.is_at_boot:
        return "it runs once in each boot of the machine: its time in this boot has passed"
    if job.kind == "calendar":
        return _calendar_is_over(view, job)
    return "it does not run again: its due time has passed"


def _calendar_is_over(view: View, job: Job) -> str:
    calendar = view.schedules.calendar_of(job)
    last = calendar.latest(view.moment.wall) if calendar else None
    if last is None:
        return "it does not run again"
    passed = "`until` has passed, and " if cached_rule(job.schedule or "").is_over(view.moment.wall) else ""
    return f"it does not run again: {passed}its last due time was {when_text(view, job, last)}"


def job_state(job: Job) -> str:
    if not job.enabled:
        return "disabled in its file"
    if job.paused:
        return "paused"
    return "waiting" if job.next_run_ms is not None or job.is_at_boot else "done"


def next_run_text(view: View, job: Job) -> str | None:
    """The next run. A job that is paused or disabled has a due time, but no next run."""
    if job.next_run_ms is None:
        return "after the next boot of the machine" if job.is_at_boot and job.enabled and not job.paused else None
    due, now_ms = when_text(view, job, job.next_run_ms), view.moment.wall
    if job.enabled and not job.paused:
        return due
    is_due = "was due" if job.next_run_ms <= now_ms else "is due"
    return f"none while it is {'paused' if job.enabled else 'disabled'}; it {is_due} at {due}"


def while_paused(view: View, job: Job, due_ms: int) -> str:
    """A phrase about the next due time of a paused job."""
    due = when_text(view, job, due_ms)
    if due_ms <= view.moment.wall:
        return f"it was due at {due}: due times that pass while it is paused are not caught up"
    return f"its next due time is {due}; it is missed unless the job is resumed before then"
