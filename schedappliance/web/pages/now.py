"""The screen Now: what is wrong, what runs, what is due next, and what did not succeed."""

from __future__ import annotations

from typing import Any

from schedappliance.client.wire import quoted
from schedappliance.web.pages.look import Look

SHOWN = 20


async def collect(look: Look) -> dict[str, Any]:
    """Raises Unavailable."""
    feed, may_jobs, may_runs = look.feed, await look.may("sched list"), await look.may("sched history")
    jobs = list(feed.jobs.values()) if may_jobs else []
    live = list(feed.live.values()) if may_runs else []
    due = sorted((job for job in jobs if not job["paused"]), key=lambda job: job["next_run_ms"])[:SHOWN]
    running = [run for run in live if run["state"] == "started"]
    stops = [f"sched stop {quoted(run['run'])}" for run in live[:SHOWN]]
    return {
        "jobs": jobs,
        "paused": sum(job["paused"] for job in jobs),
        "running": running,
        "waiting": len(live) - len(running),
        "live": sorted(live, key=lambda run: run["due_ms"])[:SHOWN],
        "due": due,
        "failed": list(feed.failed.values()) if may_runs else [],
        "incidents": list(feed.incidents.values()) if await look.may("sched incidents") else [],
        "allowed": await look.allowed(stops),
        "may_jobs": may_jobs,
        "may_runs": may_runs,
    }
