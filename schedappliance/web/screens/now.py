"""The screen Now: what is wrong, a timeline, what runs, what is due next, and what did not succeed."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

from schedappliance.client.states import FAILED
from schedappliance.client.wire import quoted
from schedappliance.web.appliance.feed import Row
from schedappliance.web.pictures.lanes import Span, lanes
from schedappliance.web.pictures.timeline import timeline
from schedappliance.web.rendering.addresses import address, job_href_of, run_href
from schedappliance.web.rendering.times import DAY_MS
from schedappliance.web.screens.jobs import learn_words, words_of
from schedappliance.web.screens.look import Look, ShownRuns

HOUR_MS = 3_600_000
# How many runs go on or wait in the list, and how many rows have the lists below, which stand side by side.
SHOWN, LISTED = 20, 10
# How much of the past the timeline shows. The future, of which less is known, has half of that.
SPANS = {"1h": HOUR_MS, "12h": 12 * HOUR_MS, "1d": DAY_MS, "3d": 3 * DAY_MS, "14d": 14 * DAY_MS}
USUAL_SPAN = "12h"
MOST_LANES = 60
# The steps of now in the past that a timeline shows, and the longest one: titles say how long a program has run.
STEPS, MOST_STEP_MS = 1000, 10_000
# What a lane shows of a job if the viewer may see its runs, but not when it is due.
NOT_PLANNED = {"next_run_ms": sys.maxsize, "interval_ms": None, "calendar": None, "paused": False}


async def collect(look: Look) -> dict[str, Any]:
    """Raises Error."""
    jobs, runs = await look.jobs(), await look.shown_runs()
    may_list, may_see_runs = bool(jobs) or await look.may("sched list"), runs.jobs is None or bool(runs.jobs)
    live = sorted(runs.live, key=lambda run: run["due_ms"])
    running = [run for run in live if run["state"] == "started"]
    waiting = [run for run in live if run["state"] == "queued"]
    counts = runs.columns.counts(look.now_ms - DAY_MS)
    stops = [f"sched stop {quoted(run['run'])}" for run in (*running[:SHOWN], *waiting[:SHOWN])]
    return {
        "may_list": may_list,
        "may_see_runs": may_see_runs,
        "may_see_all_runs": runs.jobs is None,
        "tiles": [
            *(_tiles_of_jobs(jobs, look.feed.has_more_jobs) if may_list else ()),
            *(_tiles_of_runs(len(running), len(waiting), counts) if runs.jobs is None else ()),
        ],
        "running": running[:SHOWN],
        "waiting": waiting[:SHOWN],
        "usual": runs.columns.usual({run["id"] for run in running[:SHOWN]}),
        "due": await _due(look, jobs),
        "failed": runs.failed[:LISTED],
        "timeline": await _timeline(look, jobs, runs)
        if may_see_runs and (jobs or runs.jobs or len(runs.columns))
        else "",
        "spans": [(name, _span_address(look, name), name == _span_name(look)) for name in SPANS],
        "pan": _pan(look),
        "allowed": await look.allowed([*stops, "sched hold", "sched release"]),
    }


async def _due(look: Look, jobs: list[Row]) -> list[Row]:
    """The jobs that are due next, with their schedules in words. Raises Unavailable."""
    due = sorted((job for job in jobs if not job["paused"]), key=lambda job: job["next_run_ms"])[:LISTED]
    await learn_words(look, due)
    return [job | {"words": await words_of(look, job)} for job in due]


# The label, the figure, the address, the state that decides shape and colour, and a note.
Tile = tuple[str, int | str, str, str, str]


def _tiles_of_jobs(jobs: list[Row], has_more_jobs: bool) -> list[Tile]:
    count = f"{len(jobs):,}+" if has_more_jobs else len(jobs)
    paused = sum(job["paused"] for job in jobs)
    return [("Jobs", count, "/jobs", "", ""), ("Paused", paused, address("/jobs", show="paused"), "paused", "")]


def _tiles_of_runs(running: int, waiting: int, counts: Counter[str]) -> list[Tile]:
    """`counts`: the runs of the last day by their state."""
    failed = sum(counts[state] for state in FAILED)
    return [
        ("Running", running, address("/runs", state="started"), "started", ""),
        ("Waiting", waiting, address("/runs", state="queued"), "queued", ""),
        ("Failed", failed, address("/runs", state=",".join(FAILED), since="24h"), "failed", "in 24 hours"),
        ("Missed", counts["missed"], address("/runs", state="missed", since="24h"), "missed", "in 24 hours"),
    ]


def _span_name(look: Look) -> str:
    return look.query("span") if look.query("span") in SPANS else USUAL_SPAN


def _span_address(look: Look, name: str) -> str:
    return address("/", span=name if name != USUAL_SPAN else "", at=look.query("at"))


def _span(look: Look) -> Span:
    """Before an instant, and half as much after it: now, unless the viewer looks elsewhere.

    Now goes on in steps of at most a pixel, so that the picture of one moment serves for the next ones too.
    """
    past = SPANS[_span_name(look)]
    now_ms = look.now_ms - look.now_ms % min(past // STEPS, MOST_STEP_MS)
    instant = look.number("at") or now_ms
    return Span(instant - past, now_ms, instant + past // 2)


def _pan(look: Look) -> dict[str, str]:
    past, instant = SPANS[_span_name(look)], look.number("at") or look.now_ms
    span = look.query("span")
    return {
        "earlier": address("/", span=span, at=instant - past),
        "later": address("/", span=span, at=instant + past),
        "now": address("/", span=span) if look.number("at") else "",
    }


async def _timeline(look: Look, jobs: list[Row], runs: ShownRuns) -> Any:
    """The timeline. It is drawn when something has changed, and shared by all viewers with the same rights and zone."""
    span = _span(look)
    shown = len(jobs) == len(look.feed.jobs) or tuple(job["id"] for job in jobs)
    of_jobs = runs.jobs if runs.jobs is None else frozenset(runs.jobs)
    if runs.jobs is not None:
        listed = {job["id"] for job in jobs}
        jobs = [job if key in listed else job | NOT_PLANNED for key, job in runs.jobs.items()]
    planned = await look.due_times([job for job in jobs[:MOST_LANES] if job["calendar"]], span.until_ms)
    is_planned = frozenset(job for job, due in planned.items() if due)
    key = (look.feed.version, span, look.times.zone_name, shown, of_jobs, is_planned)
    if key not in look.feed.pictures:
        heads = lanes(jobs, runs.columns, span, href=job_href_of, planned=planned, most=MOST_LANES)
        look.feed.keep_picture(key, timeline(runs.columns, heads, span, look.times, run_href))
    return look.feed.pictures[key]
