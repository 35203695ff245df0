"""Advances jobs past their due times: those that a claim has decided, and those that will not run.

Rule: every due time that is passed over is recorded as missed, with its reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schedappliance.core.runs import record_missed
from schedappliance.diagnostics import counted
from schedappliance.engine.schedule import Claim, Due, Missed, MissedOccurrences

if TYPE_CHECKING:
    from schedappliance.core.state import State
    from schedappliance.engine.reasons import Reason
    from schedappliance.engine.records import Job


def advance_by_claim(state: State, job: Job, decision: Claim) -> None:
    """Records the due times that are missed, and advances the job."""
    if passed := decision.missed:
        key, count = record_missed(state, job, passed), counted(passed.missed.count, "due time")
        state.log("warning", f"job {state.named(key)}: {count} missed: {passed.reason}")
    _advance(state, job, decision.last, decision.next_run_ms)


def miss_and_advance(state: State, job: Job, due: Due, reason: Reason) -> None:
    """Records due times that will not run as one row, and advances the job."""
    count = (due.missed.count if due.missed else 0) + 1
    since = due.missed.since_ms if due.missed else due.due_ms
    passed = MissedOccurrences(job.occurrence + count, Missed(count, since, due.due_ms), reason)
    record_missed(state, job, passed)
    state.handled.add(job.number)
    _advance(state, job, passed.occurrence, due.next_ms)


def _advance(state: State, job: Job, last: int, next_run_ms: int | None) -> None:
    """Advances a job past occurrence `last`. A job with no further due time is removed, unless a stanza declares it."""
    if next_run_ms is None and job.declared is None:
        state.store.jobs.remove(job.number)
    else:
        state.store.jobs.advance(job.number, last, next_run_ms)
