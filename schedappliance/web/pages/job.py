"""The screen of one job: why it runs or does not, its due times, its results, and its program's options."""

from __future__ import annotations

from typing import Any

from schedappliance.client.errors import Rejected
from schedappliance.client.wire import quoted
from schedappliance.web.feed import Row
from schedappliance.web.pages.jobs import schedule_words
from schedappliance.web.pages.look import Look
from schedappliance.web.pictures.calendar import calendar, month_days
from schedappliance.web.pictures.cells import cells
from schedappliance.web.pictures.durations import durations
from schedappliance.web.rendering import address, job_href, run_href

RESULTS, CELLS, DUE_TIMES, MOST_DUE_TIMES = 100, 40, 5, 500


async def collect(look: Look) -> dict[str, Any]:
    """Raises Error."""
    word = quoted(look.part("job"))
    job = await look.data(f"sched show {word}")
    key = job["id"]
    may_see_runs = await look.may_see_runs()
    runs = look.feed.columns.of(key, RESULTS) if may_see_runs else []
    lines = {verb: f"sched {verb} {quoted(key)}" for verb in ("run", "pause", "resume", "delete")}
    due = await _due_times(look, job)
    return {
        "job": job,
        "words": job["words"] or schedule_words(job),
        "why": await look.data_if_allowed(f"sched why {word}"),
        "due": due[:DUE_TIMES],
        "runs": runs,
        "cells": cells(runs, run_href, look.times, most=CELLS),
        "durations": durations(runs, run_href, look.times, usual_ms=look.feed.columns.usual([key])[key]),
        "lines": lines,
        "allowed": await look.allowed(lines.values()),
        "incidents": [one for one in look.feed.incidents.values() if one["id"] == key]
        if await look.may("sched incidents")
        else [],
        "options": await _options(look, job),
        **_month(look, job, [one["due_ms"] for one in due]),
    }


async def _due_times(look: Look, job: Row) -> list[Row]:
    if job["state"] != "waiting" or not await look.may(f"sched next {quoted(job['id'])}"):
        return []
    try:
        data = await look.data(f"sched next {quoted(job['id'])} {MOST_DUE_TIMES}")
    except Rejected:
        return []
    rows: list[Row] = data["next"]
    return rows


def _month(look: Look, job: Row, due_ms: list[int]) -> dict[str, Any]:
    """The calendar of a month, and the addresses of its neighbours."""
    today = look.times.day(look.now_ms)
    text = look.query("month")
    year, month = _year_and_month(text) or (int(today[:4]), int(today[5:7]))
    days = month_days(look.feed.columns, due_ms, year, month, look.times, job["id"])
    path = job_href(job["id"])

    def other(by: int) -> str:
        number = year * 12 + month - 1 + by
        return address(path, month=f"{number // 12:04}-{number % 12 + 1:02}")

    def day_href(date: str) -> str:
        return address("/runs", job=job["name"] or job["id"], since=date, until=f"{date} 23:59:59")

    return {
        "calendar": calendar(year, month, days, look.times, day_href),
        "month": f"{year:04}-{month:02}",
        "month_before": other(-1),
        "month_after": other(1),
    }


def _year_and_month(text: str) -> tuple[int, int] | None:
    year, _, month = text.partition("-")
    if year.isdecimal() and month.isdecimal() and len(year) == 4 and 1 <= int(month) <= 12 and 1970 <= int(year) < 9999:
        return int(year), int(month)
    return None


async def _options(look: Look, job: Row) -> list[Row]:
    """The options of the job and its program that are set, and where each value is from."""
    words = job["command"].split()
    scopes = [f"job {quoted(job['name'])}"] if job["name"] else []
    if len(words) > 1 and words[0] == "run":
        scopes.append(f"program {words[1]}")
    status = await look.data_if_allowed("config status")
    overrides = {(one["scope"], one["option"].lower()) for one in status["overrides"]} if status else set()
    rows = []
    for scope in scopes:
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
                for name, value in stanza.get("options", {}).items()
            ]
    return rows
