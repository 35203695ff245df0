"""The screen Jobs: a search, filters, and what each job did and will do. Also the form that adds a job."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from markupsafe import Markup

from schedappliance.client.errors import Rejected
from schedappliance.client.questions import moved_back
from schedappliance.client.wire import quoted
from schedappliance.clock import span_text
from schedappliance.diagnostics import counted
from schedappliance.web.appliance.columns import RunRow
from schedappliance.web.appliance.feed import Row
from schedappliance.web.pictures.cells import cells
from schedappliance.web.rendering.addresses import address, job_words, run_href
from schedappliance.web.rendering.carets import as_linted
from schedappliance.web.screens.look import Look

# With 50 jobs, Chromium took 0.3 s for the first view, nearly all of it for the rows. A screen shows about 20.
EACH, RESULTS = 30, 20
# The cells of so many jobs take 6 MB.
MOST_KEPT = 500
FILTERS = ("failing", "running", "paused", "off", "declared", "one-shot")
# These need the runs.
FILTERS_OF_RUNS = ("failing", "running")
FORMS = ("sched at ", "sched in ", "sched every ", "sched cron ", "sched calendar ")
# Reads a line as a command, and carries out nothing.
QUESTION = "authz may "


async def collect(look: Look) -> dict[str, Any]:
    """Raises Error."""
    may_list, may_see_runs = await look.may("sched list"), await look.may_see_runs()
    jobs = sorted(await look.jobs(), key=lambda job: (job["next_run_ms"], job["id"]))
    failing = look.feed.failing() if may_see_runs else frozenset[str]()
    running = {run["id"] for run in (await look.shown_runs()).live if run["state"] == "started"} if may_see_runs else ()
    kinds: dict[str, list[Row]] = {
        "failing": [job for job in jobs if job["id"] in failing],
        "running": [job for job in jobs if job["id"] in running],
        "paused": [job for job in jobs if job["paused"]],
        "declared": [job for job in jobs if job["origin"] == "stanza"],
        "one-shot": [job for job in jobs if not job["recurrent"]],
    }
    names = [kind for kind in FILTERS if may_see_runs or kind not in FILTERS_OF_RUNS]
    kinds["off"] = await _switched_off(look) if look.query("show") == "off" else []
    find, kind, after = look.query("find"), look.query("show"), look.query("after")
    is_partial = look.feed.has_more_jobs and may_list
    if is_partial and not kind:
        rest, count = await _listed(look, find, after), ""
    else:
        matching = [job for job in kinds.get(kind, jobs) if _matches(job, find.casefold())]
        rest, count = [job for job in matching if not after or _position(job) > after], counted(len(matching), "job")
    rows = await _rows(look, rest[:EACH])
    return {
        "may_list": may_list or bool(jobs),
        "rows": rows,
        "count": count,
        "total": len(jobs),
        "is_partial": is_partial and bool(kind),
        "older": address("/jobs", find=find, show=kind, after=_position(rows[-1])) if len(rest) > EACH else None,
        "newer": address("/jobs", find=find, show=kind) if after else None,
        "find": find,
        "show": kind,
        "filters": [("all", address("/jobs", find=find), not kind, None if is_partial else len(jobs))]
        + [
            (one, address("/jobs", find=find, show=one), kind == one, len(kinds[one]) if one != "off" else None)
            for one in names
        ],
        "allowed": await look.allowed(
            [*(line for row in rows for line in row["lines"].values()), "sched in 1 version"]
        ),
    }


async def _listed(look: Look, find: str, after: str) -> list[Row]:
    """The jobs of a page, and one more, as the appliance lists them: the feed does not hold them all. Raises Error."""
    due, _, key = after.partition(".")
    words = ["sched list", *(["find", quoted(find)] if find else []), f"limit {EACH + 1}"]
    words += ["after", quoted(f"{key}@{int(due)}")] if due.isascii() and due.isdecimal() and key else []
    rows: list[Row] = await look.data(" ".join(words))
    return rows


def _position(job: Row) -> str:
    """The position of a job in the list, as text that sorts like it."""
    return f"{job['next_run_ms']:016d}.{job['id']}"


def _matches(job: Row, text: str) -> bool:
    return not text or any(text in (job[key] or "").casefold() for key in ("id", "name", "command"))


async def _switched_off(look: Look) -> list[Row]:
    """The declared jobs that `sched list` leaves out: those that are switched off or done."""
    stanzas = await look.data_if_allowed("config show") or []
    listed = {job["name"] for job in look.feed.jobs.values()}
    names = [one["name"] for one in stanzas if one["stanza"] == "job" and one["name"] not in listed][:EACH]
    details = await look.all_details([{"name": name, "id": name} for name in names])
    # A name that looks like an id shows the job with this id.
    jobs = [job for name, job in details.items() if job["name"] == name]
    return [job | {"paused": False, "recurrent": True, "next_run_ms": job["next_run_ms"] or 0} for job in jobs]


async def _rows(look: Look, jobs: list[Row]) -> list[Row]:
    for verb in ("run", "pause", "resume"):
        await look.learn(verb, [job for job in jobs if verb in _verbs(job)])
    if not await look.may_see_runs():
        await look.learn("history", jobs)
    await learn_words(look, jobs)
    last = look.feed.columns.newest([job["id"] for job in jobs], RESULTS)
    return [await _row(look, job, last[job["id"]] if await look.may_see_runs(job) else []) for job in jobs]


def _verbs(job: Row) -> tuple[str, str]:
    """The buttons of a row."""
    return "run", "resume" if job["paused"] else "pause"


async def _row(look: Look, job: Row, runs: list[RunRow]) -> Row:
    ended = next((run for run in runs if run.took_ms is not None), None)
    state = "paused" if job["paused"] else runs[0].state if runs and runs[0].state in ("started", "queued") else None
    return job | {
        "word": job_words(job)[0],
        "lines": {verb: await look.line(verb, job) for verb in _verbs(job)},
        "words": await words_of(look, job),
        "cells": _cells(look, job["id"], runs),
        "last": runs[0] if runs else None,
        "took_ms": ended.took_ms if ended else None,
        "ended_ms": ended.ended_ms if ended else None,
        "shown_state": state,
        "is_off": job.get("state") == "disabled in its file",
    }


def _cells(look: Look, job: str, runs: list[RunRow]) -> Markup:
    """The last results. They are drawn again when they have changed, or while one goes on: its cell says for how long."""
    key, drawn = (job, look.times.zone_name), look.feed.cells
    if drawn.get(key, (None,))[0] != runs or any(run.state == "started" for run in runs):
        while len(drawn) >= MOST_KEPT:
            del drawn[next(iter(drawn))]
        drawn[key] = runs, cells(runs, run_href, look.times, most=RESULTS)
    picture: Markup = drawn[key][1]
    return picture


async def learn_words(look: Look, jobs: list[Row]) -> None:
    """Asks what calendars mean, once for each calendar."""
    words = look.feed.words
    details = await look.all_details([job for job in jobs if job["calendar"] and job["id"] not in words])
    words.update({job: one["words"] for job, one in details.items()})


async def words_of(look: Look, job: Row) -> str:
    """When a job runs. The appliance says what a calendar means."""
    may_know = job["calendar"] and await look.may(await look.line("show", job))
    return (may_know and look.feed.words.get(job["id"])) or schedule_words(job)


def schedule_words(job: Row) -> str:
    """When a job runs, as far as a row of `sched list` says it."""
    if job["interval_ms"] is not None:
        return f"every {span_text(job['interval_ms'])}"
    if job["calendar"]:
        zone = f", {job['zone']}" if job["zone"] else ""
        return "; ".join(job["calendar"]) + zone
    return "once"


async def collect_new(look: Look) -> dict[str, Any]:
    """The form that adds a job, with what the appliance says about its line. Raises Error."""
    line = look.query("line")
    stanzas = await look.data_if_allowed("config show") or []
    programs = [one["name"] for one in stanzas if one["stanza"] == "program"]
    return {"line": line, "programs": programs, **await _checked(look, line)}


async def _checked(look: Look, line: str) -> dict[str, Any]:
    """What is wrong with a line. The appliance reads it as a command, and carries out nothing."""
    if not line:
        return {"mistakes": [], "verdict": ""}
    try:
        answer = await look.data(f"{QUESTION}{line}", reads_failures=True)
    except Rejected as error:
        mistakes = [
            as_linted({**moved_back(asdict(one), len(QUESTION)), "line_text": line}) for one in error.diagnostics
        ]
        return {"mistakes": mistakes, "verdict": "" if mistakes else str(error)}
    if not line.lower().startswith(FORMS):
        return {"mistakes": [], "verdict": "This is no job. Begin with sched at, in, every, cron or calendar."}
    if not answer["allowed"]:
        return {"mistakes": [], "verdict": f"Your roles do not allow `{answer['denied']}`."}
    return {"mistakes": [], "verdict": ""}
