"""A job by its id, or the reason why there is none."""

from __future__ import annotations

from schedappliance.commands.context import Context
from schedappliance.diagnostics import shortened
from schedappliance.engine.records import Job, job_id, job_number


def find_job(context: Context, text: str) -> Job:
    """Raises Refused with the nearest ids."""
    number = number_of(context, text)
    job = context.store.jobs.get(number)
    if job is None:
        raise unknown(context, text, number)
    return job


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
