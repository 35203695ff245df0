"""What is planned for a job, in words: whether it runs at its next due time, and what keeps it from that."""

from __future__ import annotations

from schedappliance.commands.past import time_text
from schedappliance.engine.records import Job


def never_runs(job: Job) -> str | None:
    """Why it would not run even if it were not paused."""
    if not job.enabled:
        return "it does not run: its stanza says `enabled = false`"
    return "it does not run again: its time has passed" if job.next_run_ms is None else None


def state(job: Job) -> str:
    if not job.enabled:
        return "disabled in its file"
    if job.paused:
        return "paused"
    return "waiting" if job.next_run_ms is not None else "done"


def next_run_text(job: Job, now_ms: int) -> str | None:
    """The next run; of a job that is paused or disabled there is none, only a due time."""
    if job.next_run_ms is None:
        return None
    due = time_text(job.next_run_ms)
    if job.enabled and not job.paused:
        return due
    is_due = "was due" if job.next_run_ms <= now_ms else "is due"
    return f"none while it is {'paused' if job.enabled else 'disabled'}; it {is_due} at {due}"


def while_paused(due_ms: int, now_ms: int) -> str:
    """What becomes of the next due time of a job that is paused."""
    if due_ms <= now_ms:
        return f"it was due at {time_text(due_ms)}: what passed while it is paused is not made up for"
    return f"its next due time is {time_text(due_ms)}; it is missed unless the job is resumed before"
