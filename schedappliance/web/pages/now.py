"""The screen Now: what is wrong, a timeline, what runs, what is due next, and what did not succeed."""

from __future__ import annotations

from typing import Any

from schedappliance.client.states import FAILED
from schedappliance.client.wire import quoted
from schedappliance.web.feed import Row
from schedappliance.web.pages.look import Look
from schedappliance.web.pictures.lanes import Lane, Span, lanes
from schedappliance.web.pictures.timeline import timeline
from schedappliance.web.rendering import address, job_href_of, run_href
from schedappliance.web.words import DAY_MS

SHOWN, HOUR_MS = 20, 3_600_000
# How much of the past and of the future the timeline shows.
SPANS = {"1h": HOUR_MS, "12h": 12 * HOUR_MS, "1d": DAY_MS, "3d": 3 * DAY_MS, "14d": 14 * DAY_MS}
USUAL_SPAN = "12h"
MOST_LANES = 60


async def collect(look: Look) -> dict[str, Any]:
    """Raises Error."""
    jobs, may_see_runs = await look.jobs(), await look.may_see_runs()
    live = sorted(look.feed.live.values(), key=lambda run: run["due_ms"]) if may_see_runs else []
    running = [run for run in live if run["state"] == "started"]
    usual = look.feed.columns.usual({run["id"] for run in running[:SHOWN]})
    stops = [f"sched stop {quoted(run['run'])}" for run in live[:SHOWN]]
    counts = look.feed.columns.counts(look.now_ms - DAY_MS) if may_see_runs else {}
    return {
        "may_list": bool(jobs) or await look.may("sched list"),
        "may_see_runs": may_see_runs,
        "tiles": _tiles(jobs, look.feed.has_more_jobs, running, live, counts),
        "running": running[:SHOWN],
        "waiting": [run for run in live if run["state"] == "queued"][:SHOWN],
        "usual": usual,
        "due": sorted((job for job in jobs if not job["paused"]), key=lambda job: job["next_run_ms"])[:SHOWN],
        "failed": list(look.feed.failed.values())[:SHOWN] if may_see_runs else [],
        "timeline": await _timeline(look, jobs) if may_see_runs else "",
        "spans": [(name, _span_address(look, name), name == _span_name(look)) for name in SPANS],
        "pan": _pan(look),
        "allowed": await look.allowed([*stops, "sched hold", "sched release"]),
    }


def _tiles(
    jobs: list[Row], has_more_jobs: bool, running: list[Row], live: list[Row], counts: Any
) -> list[tuple[Any, ...]]:
    """The label, the number, the address, and the state that decides its shape and colour."""
    failed = sum(counts[state] for state in FAILED) if counts else 0
    return [
        ("Jobs", f"{len(jobs):,}+" if has_more_jobs else len(jobs), "/jobs", "", ""),
        ("Running", len(running), address("/runs", state="started"), "started", ""),
        ("Waiting", len(live) - len(running), address("/runs", state="queued"), "queued", ""),
        (
            "Failed",
            failed,
            address("/runs", state=",".join(FAILED), since="24h"),
            "failed",
            "in 24 hours",
        ),
        (
            "Missed",
            counts["missed"] if counts else 0,
            address("/runs", state="missed", since="24h"),
            "missed",
            "in 24 hours",
        ),
        ("Paused", sum(job["paused"] for job in jobs), address("/jobs", show="paused"), "paused", ""),
    ]


def _span_name(look: Look) -> str:
    return look.query("span") if look.query("span") in SPANS else USUAL_SPAN


def _span_address(look: Look, name: str) -> str:
    return address("/", span=name if name != USUAL_SPAN else "", at=look.query("at"))


def _span(look: Look) -> Span:
    """Half of the span before an instant, and half after it: now, unless the viewer looks elsewhere."""
    half, middle = SPANS[_span_name(look)], look.number("at") or look.now_ms
    return Span(middle - half, look.now_ms, middle + half)


def _pan(look: Look) -> dict[str, str]:
    half, middle = SPANS[_span_name(look)], look.number("at") or look.now_ms
    span = look.query("span")
    return {
        "earlier": address("/", span=span, at=middle - half),
        "later": address("/", span=span, at=middle + half),
        "now": address("/", span=span) if look.number("at") else "",
    }


async def _timeline(look: Look, jobs: list[Row]) -> Any:
    """The timeline. It is drawn once a second at most, and shared by all viewers with the same rights and zone."""
    span = _span(look)
    shown = len(jobs) == len(look.feed.jobs) or tuple(job["id"] for job in jobs)
    key = (span.since_ms // 1000, span.until_ms // 1000, look.times.zone_name, shown)
    if key not in look.feed.pictures:
        planned = {job["id"]: await look.due_times(job, span.until_ms) for job in jobs[:MOST_LANES] if job["calendar"]}
        heads: list[Lane] = lanes(jobs, look.feed.columns, span, href=job_href_of, planned=planned, most=MOST_LANES)
        look.feed.keep_picture(key, timeline(look.feed.columns, heads, span, look.times, run_href))
    return look.feed.pictures[key]
