"""The screen Jobs: a search, filters, and what each job did and will do."""

from __future__ import annotations

from typing import Any

from schedappliance.client.wire import quoted
from schedappliance.web.feed import Row
from schedappliance.web.pages.look import Look

EACH = 50
FILTERS = ("failing", "running", "paused", "declared", "one-shot")
VERBS = ("run", "pause", "resume")


async def collect(look: Look) -> dict[str, Any]:
    """Raises Error."""
    if not await look.may("sched list"):
        return {"may": False}
    text, kind, after = look.query("find").casefold(), look.query("show"), look.query("after")
    jobs = sorted(look.feed.jobs.values(), key=_place)
    matching = [job for job in jobs if _matches(job, text) and _is_of(kind, job, look)]
    rest = [job for job in matching if not after or after_text(job) > after]
    shown = rest[:EACH]
    return {
        "may": True,
        "rows": shown,
        "count": len(matching),
        "total": len(jobs),
        "following": after_text(shown[-1]) if len(rest) > EACH else None,
        "find": look.query("find"),
        "show": kind,
        "filters": FILTERS,
        "allowed": await look.allowed(f"sched {verb} {quoted(job['id'])}" for job in shown for verb in VERBS),
    }


def _place(job: Row) -> tuple[int, str]:
    return job["next_run_ms"], job["id"]


def after_text(job: Row) -> str:
    """The place of a job in the list, as text that sorts like it."""
    return f"{job['next_run_ms']:016d}.{job['id']}"


def _matches(job: Row, text: str) -> bool:
    return not text or any(text in (job[key] or "").casefold() for key in ("id", "name", "command"))


def _is_of(kind: str, job: Row, look: Look) -> bool:
    if kind == "failing":
        return any(one["id"] == job["id"] for one in look.feed.incidents.values())
    if kind == "running":
        return any(run["id"] == job["id"] for run in look.feed.live.values())
    if kind == "paused":
        return bool(job["paused"])
    if kind == "declared":
        return bool(job["origin"] == "stanza")
    return not job["recurrent"] if kind == "one-shot" else True
