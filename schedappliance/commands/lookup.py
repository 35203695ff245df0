"""A job by its id or its name, a run by its id, or the reason why there is none."""

from __future__ import annotations

from schedappliance.commands.phrases import time_text
from schedappliance.commands.view import View
from schedappliance.diagnostics import did_you_mean, shortened
from schedappliance.engine.authorization import not_allowed
from schedappliance.engine.records import Job, KnownUser, RunKey, job_id
from schedappliance.model.commands import read_command

NAMES_SHOWN = 20


def find_job(view: View, text: str) -> Job:
    """Raises Rejected with the nearest ids."""
    number = number_of(view, text)
    job = view.store.jobs.get(number)
    if job is None:
        raise unknown(view, text, number)
    return job


def number_of(view: View, text: str) -> int:
    """What has the form of an id is one; any other text names a declared job."""
    number = _number(view, text)
    if number is None:
        raise _no_job(view, text)
    return number


def find_run(view: View, text: str) -> RunKey | None:
    """The run that `ID/OCCURRENCE` means, also when there is none of it; None for another text, or a job of that name."""
    job, _, occurrence = text.rpartition("/")
    if not (occurrence.isascii() and occurrence.isdigit() and len(occurrence) <= 18):
        return None
    if str(int(occurrence)) != occurrence or view.store.jobs.number_of(text) is not None:
        return None
    number = _number(view, job)
    return RunKey(number, int(occurrence)) if number is not None else None


def _number(view: View, text: str) -> int | None:
    return view.store.jobs.meant_by(view.store.node, text)


def _no_job(view: View, text: str) -> Exception:
    example, declared = job_id(view.store.node, 1), view.store.jobs.declared()
    if run := find_run(view, text):
        help = f"it is a run: `sched show {shortened(text)}`; its job is {job_id(view.store.node, run.job)}"
    else:
        names = {job.declared: job for job in declared if job.declared is not None and _may_list(view)}
        help = did_you_mean(text, names, f"an id looks like `{example}`; see `sched list`{_listed(names)}")
    message = f"`{shortened(text)}` is no job id of this node, and no declared job"
    return view.reject("E501", message, "; ".join([help, *files_refused(view)]))


def _may_list(view: View) -> bool:
    """Whether a user may see what is declared: with roles, whoever may list the jobs."""
    authorization = view.options.configuration.authorization
    listing = read_command("sched list").command
    assert listing is not None
    known = view.known_user(view.order.user.uid) or KnownUser(view.order.user.uid, view.order.user.name)
    return authorization is None or not_allowed(authorization, known, listing) is None


def files_refused(view: View) -> list[str]:
    """What is declared now may not be what the files say now."""
    attempt = view.status.last_reload
    if attempt.outcome != "rejected":
        return []
    return [f"the stanza files as they were read at {time_text(attempt.at_ms)} are refused: see `config status`"]


def _listed(names: dict[str, Job]) -> str:
    """The declared jobs: those that are off, or done, stand in no other list."""
    marked = [f"`{shortened(name)}`{_mark(job)}" for name, job in sorted(names.items())]
    more = f" and {len(marked) - NAMES_SHOWN} more" if len(marked) > NAMES_SHOWN else ""
    return f"; declared: {', '.join(marked[:NAMES_SHOWN])}{more}" if marked else ""


def _mark(job: Job) -> str:
    if not job.enabled:
        return " (off)"
    return " (done)" if job.next_run_ms is None else ""


def unknown(view: View, text: str, number: int) -> Exception:
    if view.store.runs.waits(number):
        found = f"the job {text} is done, but for its run that waits"
        return view.reject("E501", found, f"`sched delete {text}` calls that off")
    near = [job_id(view.store.node, n) for n in sorted(view.store.jobs.near(number))]
    help = f"the nearest are: {', '.join(near)}" if near else "there are no jobs"
    return view.reject("E501", f"there is no job {text}", help)


def unknown_run(view: View, text: str, key: RunKey) -> Exception:
    id = job_id(view.store.node, key.job)
    return view.reject("E501", f"there is no run {text}", f"`sched history {id}` lists those that are kept")
