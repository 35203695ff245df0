"""`sched pause` and `sched resume`: of one job, of the jobs that a pattern matches, or of all.

Rule: a pause is stored, so that neither a restart nor a reload ends it. Many jobs are paused in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

from schedappliance.commands.lookup import NAMES_SHOWN, find_job, matching_jobs, may_list
from schedappliance.commands.outcome import CallOff, Outcome
from schedappliance.commands.phrases import never_runs, when_text
from schedappliance.commands.view import View
from schedappliance.diagnostics import counted, shortened
from schedappliance.engine.effects import Answer
from schedappliance.engine.reasons import PAUSED
from schedappliance.engine.records import Job, job_id
from schedappliance.engine.schedule import Due, NoSchedule, what_is_due
from schedappliance.model.commands import Command
from schedappliance.store.jobs import NamedJob

# `sched resume --all` resumes at most this many jobs whose due times have passed: each of them gets a row `missed`,
# which takes 40 µs.
MOST_PASSED = 10_000


def pause(view: View, command: Command) -> Outcome:
    """Pauses jobs, and cancels their waiting runs."""
    if not command.words:
        return _pause_all(view)
    (word,) = command.words
    if (matches := _matches(view, word)) is not None:
        return _pause_matches(view, matches)
    job = find_job(view, word)
    view.store.jobs.pause([job.number], True)
    note = "it was already paused" if job.paused else never_runs(view, job)
    answer = view.answer(_noted(view, job, note), _paused_data(view, job) | {"paused": True})
    return Outcome(answer, call_off=CallOff((job.number,), PAUSED))


def _pause_matches(view: View, matches: list[NamedJob]) -> Outcome:
    changed = [job for job in matches if not job.paused]
    view.store.jobs.pause([job.number for job in changed], True)
    call_off = CallOff(tuple(job.number for job in matches), PAUSED)
    return Outcome(_many(view, True, changed, len(changed), len(matches)), call_off=call_off)


def _pause_all(view: View) -> Outcome:
    total, shown = _all(view) - view.store.jobs.deliveries(), view.store.jobs.named_by_pause(False, NAMES_SHOWN)
    changed = view.store.jobs.pause_all(True)
    return Outcome(_many(view, True, shown, changed, total), call_off=CallOff(None, PAUSED))


def resume(view: View, command: Command) -> Outcome:
    """Ends the pause. Due times that passed meanwhile are not caught up; one `missed` row in the history records them."""
    if not command.words:
        return _resume_all(view)
    (word,) = command.words
    if (matches := _matches(view, word)) is not None:
        return _resume_matches(view, matches)
    job = find_job(view, word)
    view.store.jobs.pause([job.number], False)
    passed = _passed(view, job)
    notes = [
        None if job.paused else "it was not paused",
        _missed(view, job, passed) if passed else None,
        never_runs(view, job),
    ]
    data = _paused_data(view, job) | {
        "paused": False,
        "missed": _count(passed) if passed else 0,
        "next_run_ms": passed.next_ms if passed else job.next_run_ms,
    }
    answer = view.answer(_noted(view, job, "; ".join(filter(None, notes))), data)
    return Outcome(answer, missed=((job, passed),) if passed else ())


def _resume_matches(view: View, matches: list[NamedJob]) -> Outcome:
    changed = [job for job in matches if job.paused]
    numbers = [job.number for job in changed]
    jobs = view.store.jobs.passed(numbers, view.moment.wall)
    view.store.jobs.pause(numbers, False)
    return _resumed(view, jobs, changed, len(changed), len(matches))


def _resume_all(view: View) -> Outcome:
    total, shown = _all(view), view.store.jobs.named_by_pause(True, NAMES_SHOWN)
    jobs = view.store.jobs.paused_and_due(view.moment.wall, MOST_PASSED + 1)
    if len(jobs) <= MOST_PASSED:
        return _resumed(view, jobs, shown, view.store.jobs.pause_all(False), total)
    del jobs[MOST_PASSED:]
    shown = [NamedJob(job.number, job.declared, True) for job in jobs[:NAMES_SHOWN]]
    view.store.jobs.pause([job.number for job in jobs], False)
    return _resumed(view, jobs, shown, len(jobs), None)


def _resumed(view: View, jobs: list[Job], shown: list[NamedJob], changed: int, total: int | None) -> Outcome:
    """`jobs`: the resumed ones whose due times may have passed. `total` None: more jobs are paused still."""
    missed = tuple((job, passed) for job in jobs if (passed := _passed(view, job)))
    answer = _many(view, False, shown, changed, total, sum(_count(passed) for _, passed in missed))
    return Outcome(answer, missed=missed)


def _all(view: View) -> int:
    """How many jobs there are. Raises Rejected if there are none."""
    if total := view.store.jobs.total():
        return total
    raise view.reject("E501", "there are no jobs", "nothing is to be done")


def _matches(view: View, pattern: str) -> list[NamedJob] | None:
    """The jobs that a pattern matches; None if the word means one job. Raises Rejected if the pattern matches none."""
    jobs = matching_jobs(view.store, pattern)
    if jobs is None or jobs:
        return jobs
    remedy = "a pattern matches names and ids of declared jobs: see `sched list`"
    raise view.reject("E501", f"no declared job matches `{shortened(pattern)}`", remedy)


def _many(
    view: View, paused: bool, shown: Iterable[NamedJob], changed: int, total: int | None, missed: int = 0
) -> Answer:
    """The answer about many jobs. `shown`: at least the first jobs that changed. `total`: how many jobs the command meant."""
    first = islice(shown, NAMES_SHOWN if may_list(view) else 0)
    names = [job.declared or job_id(view.store.node, job.number) for job in first]
    verb = "paused" if paused else "resumed"
    text = f"{verb} {counted(changed, 'job')}"
    if names:
        more = f" and {changed - len(names)} more" if changed > len(names) else ""
        text += f": {', '.join(map(shortened, names))}{more}"
    notes = [text]
    unchanged = None if total is None else total - changed
    if unchanged:
        notes.append(f"{'already' if paused else 'not'} paused: {unchanged}")
    if missed:
        notes.append(f"{counted(missed, 'due time')} passed while they were paused and will not be caught up")
    if total is None:
        notes.append("more jobs are paused: give the command again")
    data = {"paused": paused, "changed": changed, "unchanged": unchanged, "missed": missed, "jobs": names}
    return view.answer("; ".join(notes), data)


def _paused_data(view: View, job: Job) -> dict[str, Any]:
    return {"id": job_id(view.store.node, job.number), "name": job.declared, "was_paused": job.paused}


def _noted(view: View, job: Job, note: str | None) -> str:
    """Momentum's empty text, or a note about something that the user may not expect."""
    return f"{job_id(view.store.node, job.number)}: {note}" if note else ""


def _passed(view: View, job: Job) -> Due | None:
    """The due times that passed while the job was paused. If its calendar cannot be known now, they are caught up later.

    A job that is switched off has none: its row still shows the due time at which it was switched off.
    """
    now = view.moment.wall
    if not (job.paused and job.enabled) or job.next_run_ms is None or job.next_run_ms > now:
        return None
    try:
        return what_is_due(view.schedules.of(job), job.next_run_ms, now)
    except NoSchedule:
        return None


def _count(passed: Due) -> int:
    return 1 + (passed.missed.count if passed.missed else 0)


def _missed(view: View, job: Job, passed: Due) -> str:
    missed = f"{counted(_count(passed), 'due time')} passed while it was paused and will not be caught up"
    if passed.next_ms is None:
        return f"{missed}; it does not run again"
    return f"{missed}; the next is {when_text(view, job, passed.next_ms)}"
