"""A job or a run by its id, or the reason why there is none."""

from __future__ import annotations

from schedappliance.commands.context import Context
from schedappliance.diagnostics import shortened
from schedappliance.engine.records import Job, RunKey, job_id, job_number


def find_job(context: Context, text: str) -> Job:
    """Raises Refused with the nearest ids."""
    number = number_of(context, text)
    job = context.store.jobs.get(number)
    if job is None:
        raise unknown(context, text, number)
    return job


def find_run(context: Context, text: str) -> RunKey | None:
    """The run that `ID/OCCURRENCE` means, also when there is none of it; None for another text."""
    job, _, occurrence = text.rpartition("/")
    number = job_number(context.store.node, job)
    if number is None or not (occurrence.isascii() and occurrence.isdigit() and len(occurrence) <= 18):
        return None
    return RunKey(number, int(occurrence)) if str(int(occurrence)) == occurrence else None


def number_of(context: Context, text: str) -> int:
    number = job_number(context.store.node, text)
    if number is None:
        example = job_id(context.store.node, 1)
        raise context.refuse(
            "E501", f"`{shortened(text)}` is no job id of this node", f"an id looks like `{example}`; see `sched list`"
        )
    return number


def unknown(context: Context, text: str, number: int) -> Exception:
    near = [job_id(context.store.node, n) for n in sorted(context.store.jobs.near(number))]
    help = f"the nearest are: {', '.join(near)}" if near else "there are no jobs"
    return context.refuse("E501", f"there is no job {text}", help)


def unknown_run(context: Context, text: str, key: RunKey) -> Exception:
    id = job_id(context.store.node, key.job)
    return context.refuse("E501", f"there is no run {text}", f"`sched history {id}` lists those that are kept")
