"""What becomes of a due job: which occurrence is claimed, whether it runs, what was missed. One pure decision per job."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from schedappliance.engine.records import Job
from schedappliance.engine.schedule import Missed, what_is_due


class Verdict(StrEnum):
    RUN = "run"
    OVERLAP = "the job's last run has not ended"
    TOO_LATE = "a shutdown is never caught up"
    UNREADABLE = "the command is no longer valid"


@dataclass(frozen=True, slots=True)
class MissedOccurrences:
    """One row for all the due times that passed: it bears the number of the last of them."""

    occurrence: int
    missed: Missed
    reason: str


@dataclass(frozen=True, slots=True)
class Claim:
    """The decision about one due job. `next_run_ms` None: nothing more is planned."""

    occurrence: int
    due_ms: int
    verdict: Verdict
    missed: MissedOccurrences | None
    next_run_ms: int | None


WHILE_DOWN = "the appliance was not running"
WHILE_BUSY = "the time had passed before it could be run"


def claim(job: Job, now_ms: int, started_ms: int, alive: bool) -> Claim:
    """`started_ms` is when this process began: what was due before was due while no appliance ran.

    `alive`: an earlier run of the job has not ended. `catch_up = once`: of all due times that have passed the latest
    runs, the others are recorded as missed.
    """
    assert job.next_run_ms is not None
    due = what_is_due(job.next_run_ms, job.interval_ms, now_ms)
    occurrence = job.occurrence + 1
    missed = None
    if due.missed:
        reason = WHILE_DOWN if due.missed.latest_ms < started_ms else WHILE_BUSY
        missed = MissedOccurrences(occurrence + due.missed.count - 1, due.missed, reason)
        occurrence += due.missed.count
    return Claim(occurrence, due.due_ms, _verdict(job, due.due_ms < started_ms, alive), missed, due.next_ms)


def claim_now(job: Job, now_ms: int, alive: bool) -> Claim:
    """One more occurrence, asked for by hand: the due times of the job do not move, overlap is obeyed."""
    return Claim(job.occurrence + 1, now_ms, _verdict(job, False, alive), None, job.next_run_ms)


def _verdict(job: Job, late: bool, alive: bool) -> Verdict:
    if job.command is None:
        return Verdict.UNREADABLE
    form = job.command.bare.form
    if form == "run" and alive:
        return Verdict.OVERLAP
    if form == "shutdown" and late:
        return Verdict.TOO_LATE
    return Verdict.RUN
