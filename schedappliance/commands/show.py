"""`sched show`: everything about one job, also when it is done or deleted; or about one run, with its output."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from schedappliance.commands.context import Context
from schedappliance.commands.finding import find_run, number_of, unknown, unknown_run
from schedappliance.commands.past import as_now, outcome_text, run_data, state_text, time_text
from schedappliance.commands.planned import next_run_text, state
from schedappliance.engine.effects import Answer
from schedappliance.engine.records import Job, job_id, run_id
from schedappliance.model.commands import Command
from schedappliance.model.values import seconds_text
from schedappliance.store.runs import PastAttempt, PastRun

# Of a run with many attempts the last ones are told with their outputs.
ATTEMPTS_SHOWN = 10

Facts = Iterable[tuple[str, object]]


def show(context: Context, command: Command) -> Answer:
    word = command.words[0]
    if key := find_run(context, word):
        run = context.store.runs.past(key)
        if run is None:
            raise unknown_run(context, word, key)
        return _show_run(context, *as_now(context, [run]))
    number = number_of(context, word)
    job = context.store.jobs.get(number)
    last = next(iter(as_now(context, context.store.runs.history(number, 1))), None)
    if job is not None:
        return _show_job(context, job, last)
    if last is not None:
        return _show_gone(context, last)
    raise unknown(context, word, number)


def _show_job(context: Context, job: Job, last: PastRun | None) -> Answer:
    declared = context.options.configuration.jobs.get(job.declared) if job.declared else None
    node, failed = context.store.node, job.on_failure_of
    data: dict[str, Any] = {
        "id": job_id(node, job.number),
        "name": job.declared,
        "command": job.text,
        "next_run_ms": job.next_run_ms,
        "interval_ms": job.interval_ms,
        "state": state(job),
        "user": job.user.name,
        "uid": job.user.uid,
        "origin": job.origin,
        "declared": f'job "{job.declared}" in {declared.place}' if declared else None,
        "on_failure_of": run_id(node, failed) if failed else None,
        "occurrences": job.occurrence,
        "last_run": run_data(node, last) if last else None,
        "output": _output(context, last) if last else None,
    }
    return context.answer(_job_text(context, data, last, next_run_text(job, context.moment.wall)), data)


def _show_gone(context: Context, last: PastRun) -> Answer:
    """Of a job that is done, or was deleted, its last run tells."""
    run = run_data(context.store.node, last)
    data: dict[str, Any] = {
        "id": run["id"],
        "name": None,
        "command": last.command,
        "next_run_ms": None,
        "interval_ms": None,
        "state": "gone",
        "user": last.user,
        "uid": None,
        "origin": last.origin,
        "declared": None,
        "on_failure_of": run["on_failure_of"],
        "occurrences": last.key.occurrence,
        "last_run": run,
        "output": _output(context, last),
    }
    return context.answer(_job_text(context, data, last), data)


def _job_text(context: Context, data: dict[str, Any], last: PastRun | None, next_run: str | None = None) -> str:
    interval = data["interval_ms"]
    facts = {
        "id": data["id"],
        "name": data["name"],
        "command": data["command"],
        "next run": next_run,
        "every": f"{seconds_text(interval)} seconds" if interval is not None else None,
        "state": "gone: done, or deleted" if data["state"] == "gone" else data["state"],
        **{label: data[label.replace(" ", "_")] for label in ("user", "uid", "origin", "declared", "on failure of")},
        "occurrences": data["occurrences"],
        "last run": outcome_text(context, last) if last else None,
    }
    return _lines(facts.items()) + _block("output", data["output"])


def _output(context: Context, run: PastRun) -> str | None:
    """What is kept of the output of the run's last attempt, or the answer of an internal command."""
    kept = context.store.runs.output(run.key)
    return _decoded(kept[0]) if kept else context.store.runs.answer(run.key)


def _show_run(context: Context, run: PastRun) -> Answer:
    attempts = context.store.runs.attempts(run.key, ATTEMPTS_SHOWN)
    output = _output(context, run)
    data = run_data(context.store.node, run) | {
        "output": output,
        "attempts_made": [_attempt_data(attempt) for attempt in attempts],
    }
    times = (("claimed", run.claimed_ms), ("ended", run.ended_ms))
    facts = {
        "run": data["run"],
        "name": run.name,
        "command": run.command,
        "due": time_text(run.due_ms),
        "state": state_text(run.state, run.reason),
        "missed": run.missed_count,
        "since": time_text(run.missed_since_ms) if run.missed_since_ms is not None else None,
        "user": run.user,
        "origin": run.origin,
        "on failure of": data["on_failure_of"],
        **{what: time_text(at) for what, at in times if at is not None},
        "attempts": run.attempts or None,
        "exit status": run.exit_status,
        "signal": run.exit_signal,
    }
    earlier = "".join(_attempt_text(attempt) for attempt in attempts[:-1])
    return context.answer(_lines(facts.items()) + earlier + _block("output", output), data)


def _attempt_data(attempt: PastAttempt) -> dict[str, Any]:
    output = None if attempt.output is None else _decoded(attempt.output)
    row = attempt._asdict()
    return {"attempt": row.pop("key").attempt, **row, "output": output}


def _attempt_text(attempt: PastAttempt) -> str:
    said = f"attempt {attempt.key.attempt}: {state_text(attempt.state, attempt.reason)}\n"
    if attempt.output is None:
        return said
    return said + _block(f"output of attempt {attempt.key.attempt}", _decoded(attempt.output))


def _lines(facts: Facts) -> str:
    return "".join(f"{label}: {value}\n" for label, value in facts if value is not None)


def _block(label: str, text: str | None) -> str:
    if not text:
        return ""
    return f"{label}:\n{text}" + ("" if text.endswith("\n") else "\n")


def _decoded(output: bytes) -> str:
    return output.decode(errors="replace")
