"""`sched show`: describes one job, even if it is done or deleted, or one run with its output.

Rule: text and data show the same facts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from schedappliance.commands.lookup import find_run, number_of, unknown, unknown_run
from schedappliance.commands.outcome import Outcome
from schedappliance.commands.phrases import (
    as_now,
    calendar_data,
    calendar_words,
    due_of,
    job_state,
    next_run_text,
    outcome_text,
    run_data,
    state_text,
    time_text,
    usage,
)
from schedappliance.commands.view import View
from schedappliance.engine.records import Job, job_id, run_id
from schedappliance.model.commands import Command
from schedappliance.model.listings import read_wanted_details
from schedappliance.model.values import seconds_text
from schedappliance.store.history import PastRun
from schedappliance.store.runs import Attempt
from schedappliance.syntax.command import Word

# A run may have many attempts. The last ones are shown, with outputs up to this many bytes: the outputs of ten attempts may
# have 160 MB together, which would take 4 s.
ATTEMPTS_SHOWN = 10
MOST_OUTPUT = 128 * 1024

Facts = Iterable[tuple[str, object]]


def show_job(view: View, command: Command) -> Outcome:
    """Shows the job or the run that the first word names."""
    wanted = read_wanted_details([Word(word, 0, 0) for word in command.words])
    word = wanted.key
    if key := find_run(view, word):
        run = view.store.runs.past(key)
        if run is None:
            raise unknown_run(view, word, key)
        (run,) = as_now(view, [run])
        return _show_run(view, run, wanted.has_outputs)
    number = number_of(view, word)
    job = view.store.jobs.get(number)
    last = next(iter(as_now(view, view.store.runs.history(number, 1))), None)
    output = _output(view, last) if last and wanted.has_outputs else None
    if job is not None:
        return _show_stored(view, job, last, output)
    if last is not None:
        return _show_gone(view, last, output)
    raise unknown(view, word, number)


def _show_stored(view: View, job: Job, last: PastRun | None, output: str | None) -> Outcome:
    declared = view.options.configuration.jobs.get(job.declared) if job.declared else None
    node, failed = view.store.node, job.on_failure_of
    data: dict[str, Any] = {
        "id": job_id(node, job.number),
        "name": job.declared,
        "command": job.text,
        "next_run_ms": job.next_run_ms,
        "interval_ms": job.interval_ms,
        "at_boot": job.is_at_boot,
        **calendar_data(job.schedule if job.kind == "calendar" else None),
        "words": calendar_words(view, job.schedule if job.kind == "calendar" else None),
        "state": job_state(job),
        "user": job.user.name,
        "uid": job.user.uid,
        "origin": job.origin,
        "declared": f'job "{job.declared}" in {declared.place}' if declared else None,
        "on_failure_of": run_id(node, failed) if failed else None,
        "occurrences": job.occurrence,
        "last_run": run_data(node, last, view.moment.boot) if last else None,
        "output": output,
    }
    return Outcome(view.answer(_job_text(view, data, last, next_run_text(view, job)), data))


def _show_gone(view: View, last: PastRun, output: str | None) -> Outcome:
    """Describes a finished or deleted job from its last run."""
    run = run_data(view.store.node, last, view.moment.boot)
    data: dict[str, Any] = {
        "id": run["id"],
        "name": None,
        "command": last.command,
        "next_run_ms": None,
        "interval_ms": None,
        "at_boot": False,
        **calendar_data(None),
        "words": None,
        "state": "gone",
        "user": last.user,
        "uid": None,
        "origin": last.origin,
        "declared": None,
        "on_failure_of": run["on_failure_of"],
        "occurrences": last.key.occurrence,
        "last_run": run,
        "output": output,
    }
    return Outcome(view.answer(_job_text(view, data, last), data))


def _job_text(view: View, data: dict[str, Any], last: PastRun | None, next_run: str | None = None) -> str:
    interval, expressions = data["interval_ms"], data["calendar"]
    facts = {
        "id": data["id"],
        "name": data["name"],
        "command": data["command"],
        "next run": next_run,
        "every": f"{seconds_text(interval)} seconds" if interval is not None else None,
        "calendar": "; ".join(expressions) if expressions else None,
        "zone": data["zone"],
        "when": data["words"],
        "state": "gone: done, or deleted" if data["state"] == "gone" else data["state"],
        **{label: data[label.replace(" ", "_")] for label in ("user", "uid", "origin", "declared", "on failure of")},
        "occurrences": data["occurrences"],
        "last run": outcome_text(view, last) if last else None,
    }
    return _lines(facts.items()) + _block("output", data["output"])


def _output(view: View, run: PastRun) -> str | None:
    """The stored output of the run's last attempt, or the answer of an internal command."""
    output = view.store.runs.output(run.key)
    return _decoded(output[0]) if output else view.store.runs.answer(run.key)


def _show_run(view: View, run: PastRun, has_outputs: bool) -> Outcome:
    attempts = view.store.runs.attempts(run.key, ATTEMPTS_SHOWN, MOST_OUTPUT if has_outputs else 0)
    output = _output(view, run) if has_outputs else None
    data = run_data(view.store.node, run, view.moment.boot) | {
        "output": output,
        "attempts_made": [_attempt_data(attempt) for attempt in attempts],
    }
    times = (("claimed", run.claimed_ms), ("ended", run.ended_ms))
    facts = {
        "run": data["run"],
        "name": run.name,
        "command": run.command,
        "due": due_of(view, run),
        "state": state_text(run.state, run.reason),
        "missed": run.missed_count,
        "since": time_text(run.missed_since_ms, view.zone) if run.missed_since_ms is not None else None,
        "user": run.user,
        "origin": run.origin,
        "on failure of": data["on_failure_of"],
        **{what: time_text(at, view.zone) for what, at in times if at is not None},
        "attempts": run.attempts or None,
        "exit status": run.exit_status,
        "signal": run.exit_signal,
        **usage(run.cpu_ms, run.memory_bytes),
    }
    earlier = "".join(_attempt_text(data["run"], attempt, has_outputs) for attempt in attempts[:-1])
    return Outcome(view.answer(_lines(facts.items()) + earlier + _block("output", output), data))


def _attempt_data(attempt: Attempt) -> dict[str, Any]:
    return {
        "attempt": attempt.key.attempt,
        "state": attempt.state,
        "reason": attempt.reason,
        "started_ms": attempt.started_ms,
        "ended_ms": attempt.ended_ms,
        "took_ms": attempt.exit.took_ms,
        "exit_status": attempt.exit.status,
        "exit_signal": attempt.exit.signal,
        "cpu_ms": attempt.exit.cpu_ms,
        "memory_bytes": attempt.exit.memory_bytes,
        "output": None if attempt.output is None else _decoded(attempt.output),
        "output_bytes": attempt.output_bytes,
    }


def _attempt_text(run: str, attempt: Attempt, has_outputs: bool) -> str:
    took = "".join(f", {label} {text}" for label, text in usage(attempt.exit.cpu_ms, attempt.exit.memory_bytes).items())
    line = f"attempt {attempt.key.attempt}: {state_text(attempt.state, attempt.reason)}{took}\n"
    if attempt.output is None:
        is_long = has_outputs and attempt.output_bytes
        where = f"`sched output {run} attempt {attempt.key.attempt}`"
        return (
            f"{line}output of attempt {attempt.key.attempt}: {attempt.output_bytes:,} bytes; {where} shows it\n"
            if is_long
            else line
        )
    return line + _block(f"output of attempt {attempt.key.attempt}", _decoded(attempt.output))


def _lines(facts: Facts) -> str:
    return "".join(f"{label}: {value}\n" for label, value in facts if value is not None)


def _block(label: str, text: str | None) -> str:
    if not text:
        return ""
    return f"{label}:\n{text}" + ("" if text.endswith("\n") else "\n")


def _decoded(output: bytes) -> str:
    return output.decode(errors="replace")
