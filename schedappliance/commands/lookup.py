"""Finds the job or the run that a word names.

Rule: if a word names nothing, the command is rejected, and the remedy shows the nearest ids or names.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from fnmatch import translate
from heapq import nsmallest
from typing import TYPE_CHECKING

from schedappliance.commands.phrases import time_text
from schedappliance.commands.view import View
from schedappliance.diagnostics import did_you_mean, shortened
from schedappliance.engine.authorization import not_allowed
from schedappliance.engine.records import Job, KnownUser, RunKey, job_id, job_number, run_id
from schedappliance.model.calendars.zones import UnknownZone, instead_of_zone
from schedappliance.model.commands import read_command
from schedappliance.model.listings import is_pattern

if TYPE_CHECKING:
    from schedappliance.store.history import PastRun
    from schedappliance.store.jobs import NamedJob
    from schedappliance.store.tables import Store

NAMES_SHOWN = 20
ZONES = "write a name such as `Europe/Berlin`, `UTC` or `local`"


def find_job(view: View, text: str) -> Job:
    """The job with this id or name. Raises Rejected with the nearest ids if there is none."""
    number = number_of(view, text)
    job = view.store.jobs.get(number)
    if job is None:
        raise unknown(view, text, number)
    return job


def number_of(view: View, text: str) -> int:
    """The number of a job. A word that looks like an id of this node is read as an id; any other word names a declared job."""
    number = _number(view, text)
    if number is None:
        raise _no_job(view, text)
    return number


def matching_jobs(store: Store, word: str) -> list[NamedJob] | None:
    """The declared jobs whose name or id a shell pattern matches; None if the word is none, or the name of a declared job."""
    if not is_pattern(word) or store.jobs.number_of(word) is not None:
        return None
    matches = re.compile(translate(word)).match
    return store.jobs.named(lambda number, name: matches(name) or matches(job_id(store.node, number)))


def find_run(view: View, text: str) -> RunKey | None:
    """The run that `ID/OCCURRENCE` names, whether or not it exists. None for other texts, and for the name of a job that is no id."""
    job, _, occurrence = text.rpartition("/")
    if not (occurrence.isascii() and occurrence.isdigit() and len(occurrence) <= 18):
        return None
    if str(int(occurrence)) != occurrence:
        return None
    number = job_number(view.store.node, job)
    if number is None and view.store.jobs.number_of(text) is None:
        number = view.store.jobs.number_of(job)
    return RunKey(number, int(occurrence)) if number is not None else None


def find_past_run(view: View, text: str) -> PastRun:
    """The stored run that `ID/OCCURRENCE` names. Raises Rejected."""
    key = find_run(view, text)
    if key is None:
        raise view.reject("E501", f"`{shortened(text)}` is not the id of a run", _run_remedy(view, text))
    run = view.store.runs.past(key)
    if run is None:
        raise unknown_run(view, text, key)
    return run


def _run_remedy(view: View, text: str) -> str:
    if _number(view, text) is not None:
        return f"it is a job: `sched history {shortened(text)}` lists its runs"
    return f"it looks like `{run_id(view.store.node, RunKey(1, 12))}`"


def is_unknown(view: View, number: int) -> bool:
    """Whether the store has neither a job with this number nor runs of it."""
    return view.store.jobs.get(number) is None and not view.store.runs.history(number, 1)


def _number(view: View, text: str) -> int | None:
    return view.store.jobs.meant_by(view.store.node, text)


def _no_job(view: View, text: str) -> Exception:
    example = job_id(view.store.node, 1)
    if run := find_run(view, text):
        remedy = f"it is a run: `sched show {shortened(text)}`; its job is {job_id(view.store.node, run.job)}"
    else:
        # Reading the rows of all declared jobs took 40 ms for 5,000.
        names = view.options.configuration.jobs if may_list(view) else ()
        remedy = did_you_mean(text, names) or f"an id looks like `{example}`; see `sched list`{_declared(view, names)}"
    message = f"no job has the id or name `{shortened(text)}`"
    return view.reject("E501", message, "; ".join([remedy, *rejected_files(view)]))


def may_list(view: View) -> bool:
    """Whether the user may see the names of declared jobs. With roles, this requires a role that allows `sched list`."""
    authorization = view.options.configuration.authorization
    listing = read_command("sched list").command
    assert listing is not None
    user = view.ask.known_user(view.order.user.uid) or KnownUser(view.order.user.uid, view.order.user.name)
    return authorization is None or not_allowed(authorization, user, listing) is None


def rejected_files(view: View) -> list[str]:
    """A note if the stanza files were rejected, since the declared jobs may then differ from the present files."""
    reload = view.status.last_reload
    if reload.outcome != "rejected" or reload.at_ms is None:
        return []
    return [f"the stanza files read at {time_text(reload.at_ms, view.zone)} were rejected: see `config status`"]


def _declared(view: View, names: Collection[str]) -> str:
    """The names of the declared jobs. Disabled and finished ones are included, since `sched list` does not show them."""
    marked = [f"`{shortened(name)}`{_mark(view, name)}" for name in nsmallest(NAMES_SHOWN, names)]
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return f"; declared: {', '.join(marked)}{more}" if marked else ""


def _mark(view: View, name: str) -> str:
    number = _number(view, name)
    job = None if number is None else view.store.jobs.get(number)
    if job is None or not job.enabled:
        return " (off)"
    return " (done)" if job.next_run_ms is None else ""


def unknown_zone(view: View, zone: UnknownZone) -> Exception:
    """The rejection of a time zone that is not in the zone data."""
    remedy = instead_of_zone(zone.name, view.schedules.zones) or ZONES
    return view.reject("E213", f"unknown time zone `{zone.name}`: {zone.reason}", remedy)


def unknown(view: View, text: str, number: int) -> Exception:
    if view.store.runs.waits(number):
        message = f"job {text} is done, but its last run is queued"
        return view.reject("E501", message, f"`sched delete {text}` cancels that run")
    if may_list(view):
        near = [job_id(view.store.node, n) for n in sorted(view.store.jobs.near(number))]
        remedy = f"the nearest ids are {', '.join(near)}" if near else "there are no jobs"
    else:
        remedy = "give the id that the scheduling command printed"
    return view.reject("E501", f"there is no job {text}", remedy)


def unknown_run(view: View, text: str, key: RunKey) -> Exception:
    job = job_id(view.store.node, key.job)
    return view.reject("E501", f"there is no run {text}", f"`sched history {job}` lists the stored runs")
