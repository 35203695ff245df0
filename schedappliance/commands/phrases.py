"""Describes jobs and runs in answers: phrases for people, data for programs.

Rule: instants are milliseconds; texts show seconds since the Unix epoch, with the date.
"""

from __future__ import annotations

from typing import Any

from schedappliance.clock import iso
from schedappliance.commands.view import View
from schedappliance.engine.records import Job, job_id, run_id
from schedappliance.engine.states import RunState
from schedappliance.store.runs import PastRun

# One answer explains only this many queued runs, the oldest first, since each explanation searches the whole queue.
WAITING_LOOKED_UP = 20


def time_text(milliseconds: int) -> str:
    return f"{milliseconds // 1000} ({iso(milliseconds)})"


def state_text(state: str, reason: str | None) -> str:
    return state.replace("_", " ") + (f": {reason}" if reason else "")


def outcome_text(view: View, run: PastRun) -> str:
    """A run with its state and reason."""
    return f"{run_id(view.store.node, run.key)} {state_text(run.state, run.reason)}"


def as_now(view: View, runs: list[PastRun]) -> list[PastRun]:
    """The runs, with the present reason of each queued run in place of the stored one."""
    waiting = {run.key for run in [run for run in runs if run.state == RunState.QUEUED][-WAITING_LOOKED_UP:]}
    return [
        run._replace(reason=view.why_waits(run.key, run.reason or "")) if run.key in waiting else run for run in runs
    ]


def run_data(node: str, run: PastRun) -> dict[str, Any]:
    return {
        "run": run_id(node, run.key),
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
        "ended_ms": run.ended_ms,
        "exit_status": run.exit_status,
        "exit_signal": run.exit_signal,
        "has_output": run.has_output,
        "on_failure_of": run_id(node, run.on_failure_of) if run.on_failure_of else None,
    }


def never_runs(job: Job) -> str | None:
    """Why a job does not run, apart from being paused."""
    if not job.enabled:
        return "it does not run: its stanza has `enabled = false`"
    return "it does not run again: its due time has passed" if job.next_run_ms is None else None


def job_state(job: Job) -> str:
    if not job.enabled:
        return "disabled in its file"
    if job.paused:
        return "paused"
    return "waiting" if job.next_run_ms is not None else "done"


def next_run_text(job: Job, now_ms: int) -> str | None:
    """The next run. A job that is paused or disabled has a due time, but no next run."""
    if job.next_run_ms is None:
        return None
    due = time_text(job.next_run_ms)
    if job.enabled and not job.paused:
        return due
    is_due = "was due" if job.next_run_ms <= now_ms else "is due"
    return f"none while it is {'paused' if job.enabled else 'disabled'}; it {is_due} at {due}"


def while_paused(due_ms: int, now_ms: int) -> str:
    """A phrase about the next due time of a paused job."""
    if due_ms <= now_ms:
        return f"it was due at {time_text(due_ms)}: due times that pass while it is paused are not caught up"
    return f"its next due time is {time_text(due_ms)}; it is missed unless the job is resumed before then"
