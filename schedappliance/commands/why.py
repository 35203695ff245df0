"""`sched why`: explains what decides a job's next run, why its runs wait, and why a run did not succeed.

Rule: every explanation is derived from stored rows and the active configuration. No row serves explanations alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from schedappliance.clock import lasted_text, local_text
from schedappliance.commands.incidents import incident_lines
from schedappliance.commands.lookup import find_run, number_of, rejected_files, unknown, unknown_run
from schedappliance.commands.outcome import Outcome
from schedappliance.commands.phrases import (
    as_now,
    calendar_data,
    calendar_options,
    calendar_words,
    due_notes,
    due_of,
    hold_data,
    hold_text,
    job_state,
    never_runs,
    nothing_starts,
    outcome_text,
    run_data,
    special_of,
    time_text,
    took_ms,
    usage,
    when_text,
    while_paused,
)
from schedappliance.commands.view import View
from schedappliance.diagnostics import Source
from schedappliance.engine.attempts import CannotStart, prepare
from schedappliance.engine.authorization import why_not_run
from schedappliance.engine.incidents import USUAL_RUNS, usual_duration
from schedappliance.engine.records import Job, RunKey, job_id, run_id
from schedappliance.engine.schedule import NoSchedule
from schedappliance.engine.states import RunState
from schedappliance.model.calendars.zones import LOCAL, UnknownZone
from schedappliance.model.commands import Command, read_command, run_line
from schedappliance.model.values import seconds_text
from schedappliance.store.history import PastRun
from schedappliance.syntax.stanza import parse_stanzas
from schedappliance.syntax.tree import Option, Scalar, Stanza

LIVE = frozenset({RunState.STARTED, RunState.QUEUED})
# The states of runs that ended without success.
NO_SUCCESS = frozenset(RunState) - LIVE - {RunState.SUCCEEDED}
RUNS_EXAMINED = 1000
LIVE_SHOWN = 20
# One answer parses at most this many characters of older stanza files. 1,000 characters take 0.4 ms, or 1.5 ms if every
# line is full of options. So an answer takes 3 to 12 ms, in which the daemon does nothing else. Reading a text takes a
# hundredth of that time.
MOST_PARSED = 8_000
READ_OF_PARSED = 100

GONE = "it does not run again: it is done or was deleted"
GONE_DECLARED = "it does not run again: it is done, was deleted or is no longer declared"
LAST = "no further run is planned after this one:"

# The treatment of the next due time if the last run has not ended by then.
MEANWHILE = {
    "skip": "is skipped",
    "queue": "waits for it, unless another run already waits",
    "parallel": "runs beside it",
    "replace": "takes its place",
}


def explain(view: View, command: Command) -> Outcome:
    """Explains a job, a job that is gone, or one run."""
    word = command.words[0]
    if key := find_run(view, word):
        return _why_run(view, word, key)
    number = number_of(view, word)
    job = view.store.jobs.get(number)
    past = view.store.runs.states(number, RUNS_EXAMINED)
    if job is None and not past:
        raise unknown(view, word, number)
    live = as_now(view, [_run(view, key) for key, state in reversed(past) if state in LIVE][:LIVE_SHOWN])
    ended = next((_run(view, key) for key, state in past if state not in LIVE), None)
    failure = next((_run(view, key) for key, state in past if state in NO_SUCCESS), None)
    usual_ms = _usual_ms(view, past[0][0]) if past else None
    next_lines = _next(view, job, bool(live)) if job else [LAST if live else _gone(view, _run(view, past[0][0]))]
    lines = {
        "next": [*_held(view), *next_lines] if job or live else next_lines,
        "now": [_now(view, run) for run in live],
        "past": [*_past(view, ended, failure), *_usually(usual_ms), *incident_lines(view, number)],
    }
    node, boot_ms = view.store.node, view.moment.boot
    schedule = job.schedule if job and job.kind == "calendar" else None
    data = {
        "id": job_id(node, number),
        "name": job.declared if job else None,
        "state": job_state(job) if job else "gone",
        "next_run_ms": job.next_run_ms if job else None,
        "interval_ms": job.interval_ms if job else None,
        "held": hold_data(view.status.hold),
        **calendar_data(schedule),
        "words": calendar_words(view, schedule),
        "live": [run_data(node, run, boot_ms) for run in live],
        "last_run": run_data(node, ended, boot_ms) if ended else None,
        "last_not_done": run_data(node, failure, boot_ms) if failure else None,
        "usual_ms": usual_ms,
    }
    return Outcome(view.answer(_joined(lines), data | lines))


def _run(view: View, key: RunKey) -> PastRun:
    run = view.store.runs.past(key)
    assert run is not None, key
    return run


def _why_run(view: View, text: str, key: RunKey) -> Outcome:
    run = view.store.runs.past(key)
    if run is None:
        raise unknown_run(view, text, key)
    (run,) = as_now(view, [run])
    lines = {"now": [_now(view, run)], "past": []} if run.state in LIVE else {"now": [], "past": [_ended(view, run)]}
    if run.state == RunState.QUEUED:
        lines["now"] += _held(view)
    usual_ms = _usual_ms(view, key)
    lines["past"] += _usually(usual_ms)
    return Outcome(
        view.answer(_joined(lines), run_data(view.store.node, run, view.moment.boot) | lines | {"usual_ms": usual_ms})
    )


def _usual_ms(view: View, key: RunKey) -> int | None:
    """The usual duration of the runs of a job, as of this run; None if it is not known."""
    return usual_duration(view.store.runs.durations(key, USUAL_RUNS))


def _usually(usual_ms: int | None) -> list[str]:
    return [] if usual_ms is None else [f"its runs usually take {lasted_text(usual_ms)}"]


def _held(view: View) -> list[str]:
    """Why nothing new starts; no line if the appliance is not held."""
    hold = view.status.hold
    return [f"the appliance is held {hold_text(hold, view.zone)}; {nothing_starts(hold)}"] if hold else []


def _joined(parts: dict[str, list[str]]) -> str:
    return "\n".join(line for lines in parts.values() for line in lines)


def _next(view: View, job: Job, is_live: bool) -> list[str]:
    lines = [_what_is_next(view, job), *rejected_files(view)]
    if job.enabled and job.paused and job.next_run_ms is not None:
        lines.append(while_paused(view, job, job.next_run_ms))
    waits_for_its_time = job.enabled and not job.paused and job.next_run_ms is not None
    if waits_for_its_time and (fault := _fault(view, job)):
        lines.append(f"it will fail: {fault}")
    elif waits_for_its_time and is_live and (meanwhile := _meanwhile(view, job)):
        lines.append(f"if its last run has not ended by then, the next one {meanwhile}")
    if job.on_failure_of:
        lines.append(f"it was made by `on_failure`: run {run_id(view.store.node, job.on_failure_of)} failed")
    return lines


def _what_is_next(view: View, job: Job) -> str:
    if never := never_runs(view, job):
        return never
    if job.paused:
        return "it does not run: it is paused; `sched resume` ends the pause"
    assert job.next_run_ms is not None
    due = when_text(view, job, job.next_run_ms)
    if unknown := _unknown_schedule(view, job):
        return f"its next due time is {due}, but it does not run: {unknown}"
    if job.next_run_ms <= view.moment.wall and (hold := view.status.hold):
        after = "`sched release`" if hold.ends_ms is None else "the hold"
        return f"it has been due since {due}; after {after} it runs or is missed, as `catch_up` says"
    if job.next_run_ms <= view.moment.wall:
        when = f"as soon as the run can be stored: {view.status.degraded}" if view.status.degraded else "at once"
        return f"it has been due since {due}; it runs {when}"
    if job.kind == "calendar":
        return _what_the_calendar_says(view, job, due)
    if job.is_at_boot:
        return f"it runs once in each boot of the machine, in this boot at {due}"
    if job.interval_ms is None:
        return "; ".join([f"it runs once, at {due}", *due_notes(special_of(view, job, job.next_run_ms))])
    period = seconds_text(job.interval_ms)
    if job.declared:
        return f"it runs next at {due}: the next multiple of {period} seconds, as its stanza says"
    return f"it runs next at {due}: {period} seconds after its last due time"


def _what_the_calendar_says(view: View, job: Job, due: str) -> str:
    """The next due time with the expression and the options that give it, and what is special about it."""
    special = due_notes(special_of(view, job, job.next_run_ms)) if job.next_run_ms is not None else []
    data = calendar_data(job.schedule)
    zone = f" in {_zone_text(view, data['zone'])}" if data["zone"] else ""
    expressions = " or ".join(f"`{expression}`" for expression in data["calendar"])
    decided_by = ", ".join([f"{expressions}{zone}", *calendar_options(view, job.schedule)])
    return "; ".join([f"it runs next at {due}: {decided_by}", *special])


def _zone_text(view: View, name: str) -> str:
    """A zone by its name; `local` with the name that it has on this machine."""
    if name != LOCAL:
        return name
    try:
        known = view.schedules.zones.local.name
    except UnknownZone:
        known = None
    return f"local time ({known})" if known else "local time"


def _unknown_schedule(view: View, job: Job) -> str | None:
    """Why the due times of a job cannot be known now; None if they can."""
    try:
        view.schedules.of(job)
    except NoSchedule as reason:
        return str(reason)
    return None


def _fault(view: View, job: Job) -> str | None:
    """Why the job's command would be rejected, or its program could not be started, if it were due now."""
    if job.command is None:
        return "its command is no longer valid"
    if reason := _lacking_role(view, job, job.command):
        return reason
    if job.command.bare.form != "run":
        return None
    launch = prepare(view.options, job.command.bare)
    if not isinstance(launch, CannotStart):
        return None
    program = job.command.bare.words[0]
    if program in view.options.configuration.programs:
        return launch.reason
    return f"{launch.reason}{_since_when_undeclared(view, program)}"


def _lacking_role(view: View, job: Job, command: Command) -> str | None:
    authorization, user = view.options.configuration.authorization, view.ask.known_user(job.user.uid)
    if authorization is None or user is None or job.origin == "stanza":
        return None
    return why_not_run(authorization, user, job.user, command)


def _since_when_undeclared(view: View, program: str) -> str:
    since = _removed_by(view, program, lambda stanza: _program(stanza) == program)
    return f" since {since}" if since else ""


def _removed_by(view: View, name: str, declares: Callable[[Stanza], bool]) -> str | None:
    """The generation that removed the last stanza for which `declares` is true.

    None if the stored generations do not show it within the parsing budget. `name` is a part of such a stanza. Only
    texts that may hold it are parsed: a value without quotes and backslashes appears in a text unchanged.
    """
    later, budget = None, MOST_PARSED
    is_literal = not {'"', "\\"} & set(name)
    without_it: set[str] = set()
    for generation in view.store.settings.generations():
        if view.store.settings.size(generation.number) // READ_OF_PARSED > budget:
            return None
        for path, text in (view.store.settings.texts(generation.number) or {}).items():
            can_hold = text not in without_it and (name in text or not is_literal)
            budget -= len(text) if can_hold else len(text) // READ_OF_PARSED
            if budget < 0:
                return None
            if can_hold and any(declares(stanza) for stanza in _stanzas(path, text)):
                return f"generation {later.number} ({local_text(later.applied_ms, view.zone)})" if later else None
            without_it.add(text)
        later = generation
    return None


def _stanzas(path: str, text: str) -> Iterator[Stanza]:
    statements, _ = parse_stanzas(Source(path, text))
    return (s for s in statements if isinstance(s, Stanza))


def _program(stanza: Stanza) -> str | None:
    """The name of the program that a stanza declares."""
    declares = _kind(stanza) == "program" or (_kind(stanza) == "job" and any(_options(stanza, "argv")))
    return stanza.name.value if declares and stanza.name else None


def _command(stanza: Stanza) -> str | None:
    """The command of a `job` stanza."""
    if _kind(stanza) != "job":
        return None
    if program := _program(stanza):
        return run_line(program)
    values = (option.value for option in _options(stanza, "command"))
    return next((value.value.strip(" \t") for value in values if isinstance(value, Scalar)), None)


def _kind(stanza: Stanza) -> str:
    return stanza.key.value.lower()


def _options(stanza: Stanza, name: str) -> Iterator[Option]:
    return (s for s in stanza.body if isinstance(s, Option) and s.key.value.lower() == name)


def _gone(view: View, last: PastRun) -> str:
    """Why a job no longer exists. For a declared job, only the stored older stanza files show the reason."""
    if last.origin != "stanza" or last.on_failure_of:
        return GONE
    # A job with `argv` holds only the name of the program.
    command = read_command(last.command).command
    name = command.words[0] if command and command.form == "run" else last.command
    since = _removed_by(view, name, lambda stanza: _command(stanza) == last.command)
    return f"it does not run again: since {since} no stanza has its command" if since else GONE_DECLARED


def _meanwhile(view: View, job: Job) -> str | None:
    if job.command is None or job.command.bare.form != "run":
        return None
    overlap = view.options.configuration.programs[job.command.bare.words[0]].overlap
    return f"{MEANWHILE[overlap]} (`overlap = {overlap}`)"


def _now(view: View, run: PastRun) -> str:
    name, since = run_id(view.store.node, run.key), f"due {due_of(view, run)}"
    if run.state == RunState.QUEUED:
        return f"queued: {name}, {since}: {run.reason}"
    attempt = f", attempt {run.attempts}" if run.attempts > 1 else ""
    unseen = f"; {view.status.why_unseen}" if name in view.status.unseen else ""
    return f"running: {name}, {since}{attempt}{_lasted('for', view, run)}{unseen}"


def _past(view: View, ended: PastRun | None, failure: PastRun | None) -> list[str]:
    """The last run that has ended, and the last one that did not succeed."""
    lines = [f"its last run: {_ended(view, ended)}"] if ended else []
    if failure and failure != ended:
        lines.append(f"the last run that did not succeed: {_ended(view, failure)}")
    return lines


def _ended(view: View, run: PastRun) -> str:
    attempts = f", after {run.attempts} attempts" if run.attempts > 1 else ""
    if run.missed_count and run.missed_count > 1 and run.missed_since_ms is not None:
        job = view.store.jobs.get(run.key.job)
        first = when_text(view, job, run.missed_since_ms) if job else time_text(run.missed_since_ms, view.zone)
        due = f"{run.missed_count} due times from {first} to {due_of(view, run)}"
    else:
        due = f"due {due_of(view, run)}"
    used = "".join(f", {label} {text}" for label, text in usage(run.cpu_ms, run.memory_bytes).items())
    return f"{outcome_text(view, run)}, {due}{attempts}{_lasted('took', view, run)}{used}"


def _lasted(word: str, view: View, run: PastRun) -> str:
    """How long the last attempt of a run lasted, after this word; nothing if that is not known."""
    milliseconds = took_ms(run, view.moment.boot)
    return "" if milliseconds is None else f", {word} {lasted_text(milliseconds)}"
