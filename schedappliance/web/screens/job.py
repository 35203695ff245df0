"""The screen of one job: why it runs or does not, its due times, its results, and its program's options."""

from __future__ import annotations

from typing import Any

from schedappliance.client.errors import Rejected
from schedappliance.client.wire import quoted
from schedappliance.model.commands import read_command
from schedappliance.web.appliance.feed import Row
from schedappliance.web.pictures.cells import cells
from schedappliance.web.pictures.durations import durations
from schedappliance.web.rendering.addresses import job_href_of, run_href
from schedappliance.web.screens.jobs import schedule_words
from schedappliance.web.screens.look import Look
from schedappliance.web.screens.month import month_of

RESULTS, CELLS, DUE_TIMES, MOST_DUE_TIMES = 100, 30, 5, 500
# The jobs whose due times the page keeps.
MOST_LISTS = 20


async def collect(look: Look) -> dict[str, Any]:
    """Raises Error."""
    job = await look.details(f"sched show {quoted(look.part('job'))}")
    key = job["id"]
    columns = await look.runs(job)
    runs = columns.of(key, RESULTS)
    lines = {verb: await look.line(verb, job) for verb in ("run", "pause", "resume", "delete")}
    due = await _due_times(look, job)
    return {
        "job": job,
        "words": job["words"] or schedule_words(job),
        "why": await look.data_if_allowed(await look.line("why", job)),
        "due": due[:DUE_TIMES],
        "may_see_runs": await look.may_see_runs(job),
        "runs": runs,
        "last": runs[0] if runs else None,
        "is_failing": key in look.feed.failing() and await look.may_see_runs(job),
        "cells": cells(runs, run_href, look.times, most=CELLS),
        "durations": durations(runs, run_href, look.times, usual_ms=columns.usual([key])[key]),
        "lines": lines,
        "allowed": await look.allowed(lines.values()),
        "options": await _options(look, job),
        **month_of(look, job_href_of(job), columns, _whole_days(look, [one["due_ms"] for one in due]), job),
    }


def _whole_days(look: Look, due_ms: list[int]) -> list[int]:
    """The due times of the days of which all are known: a part would read as the whole."""
    if len(due_ms) < MOST_DUE_TIMES:
        return due_ms
    last = look.times.day(due_ms[-1])
    return [one for one in due_ms if look.times.day(one) != last]


async def _due_times(look: Look, job: Row) -> list[Row]:
    """The next due times, which are asked for again when the job has another next one. Raises Unavailable."""
    line = await look.line("next", job, f" {MOST_DUE_TIMES}")
    if job["state"] != "waiting" or not await look.may(line):
        return []
    key, lists = (job["id"], job["next_run_ms"]), look.feed.due_times
    if key not in lists:
        while len(lists) >= MOST_LISTS:
            del lists[next(iter(lists))]
        try:
            lists[key] = (await look.data(line))["next"]
        except Rejected:
            return []
    return lists[key]


def scopes(job: Row) -> list[str]:
    """The stanzas of the job and of its program, as `config show` takes them."""
    command = read_command(job["command"]).command
    names = [f"job {quoted(job['name'])}"] if job["name"] else []
    if command is not None and command.form == "run":
        names.append(f"program {quoted(command.words[0])}")
    return names


async def _options(look: Look, job: Row) -> list[Row]:
    """The options of the job and its program that are set, and where each value is from."""
    status = await look.data_if_allowed("config status")
    overrides = {(one["scope"], one["option"].lower()) for one in status["overrides"]} if status else set()
    rows = []
    for scope in scopes(job):
        try:
            stanzas = await look.data_if_allowed(f"config show {scope}") or []
        except Rejected:
            continue
        for stanza in stanzas:
            title = f'{stanza["stanza"]} "{stanza["name"]}"'
            rows += [
                {
                    "scope": title,
                    "option": name,
                    "value": value if isinstance(value, str) else " ".join(map(str, value)),
                    "is_override": (title, name.lower()) in overrides,
                }
                for name, value in (stanza["options"] or {}).items()
            ]
    return rows
