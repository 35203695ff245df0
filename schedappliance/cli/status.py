"""`schedappliance status`: one screen for a person on call: what is wrong, what runs, what failed, what is next."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from schedappliance.cli import tables
from schedappliance.cli.asking import answer_of, asking_parser, data_in, data_of, print_json, session_of
from schedappliance.cli.errors import FAILED, OK
from schedappliance.cli.runs import FAILED_STATES, name_of
from schedappliance.client.console import Session
from schedappliance.clock import SystemClock, lasted_text
from schedappliance.visible import visible

DESCRIPTION = """\
Show what is wrong, which programs run, which runs failed in the last 24 hours, and
which jobs are next. The exit status is 1 if commands or programs cannot run."""
SHOWN = 10
FAILED_HEAD = "FAILED"
# The code of what no role allows. The client library has it too, but its import takes 0.1 s.
NOT_AUTHORIZED = "E512"
FAILURES_COUNTED = 1000
# How many incidents are asked for at once.
INCIDENTS_PAGE = 100


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    return asking_parser("status", DESCRIPTION).parse_args(arguments)


def run(options: argparse.Namespace) -> int:
    """Raises Unusable and Failure."""
    with session_of(options) as session:
        facts = facts_of(session, FAILURES_COUNTED)
    if options.json:
        print_json({name: value for name, value in facts.items() if name != "most"})
    else:
        tables.show(list(lines_of(facts, SystemClock().moment().wall)))
    return OK if facts["health"]["ready"] else FAILED


def facts_of(session: Session, most: int) -> dict[str, Any]:
    """What the appliance answers; at most this many runs of each kind. Raises Failure."""
    return {
        "health": data_of(session, "health")[0],
        "summary": data_of(session, "summary")[0],
        "live": data_of(session, f"sched history state started,queued limit {most}")[0],
        "failed": data_of(session, f"sched history since 24h state {FAILED_STATES} limit {most}")[0],
        "next": data_of(session, f"sched list limit {SHOWN}")[0],
        "incidents": _incidents(session),
        "most": most,
    }


def _incidents(session: Session) -> list[dict[str, Any]] | None:
    """The first incidents, those of declared jobs first; None for a user who may not list them. Raises Failure.

    Each `notify` stanza has an incident of the same job, so pages are read until they name more jobs than are shown. A job
    has no more incidents than there are stanzas, so these are few pages.
    """
    # After an incident that is closed between two pages, some come again.
    incidents: dict[int, dict[str, Any]] = {}
    line: str | None = f"sched incidents limit {INCIDENTS_PAGE}"
    while line and len(_names_of(incidents.values())) <= SHOWN:
        response = answer_of(session, line, quiet=True)
        if NOT_AUTHORIZED in (mistake["code"] for mistake in response.get("diagnostics", ())):
            return None
        incidents |= {one["incident"]: one for one in data_in(response)[0]["incidents"]}
        line = response.get("next")
    return list(incidents.values())


def _names_of(incidents: Iterable[dict[str, Any]]) -> list[str]:
    """The jobs and programs that have failed and not recovered, each once."""
    return list(dict.fromkeys(one["subject"] for one in incidents))


def lines_of(facts: dict[str, Any], now_ms: int) -> Iterator[str]:
    """The screen for people."""
    yield from head_of(facts)
    for head, rows, objects in tables_of(facts, now_ms):
        yield from ("", *tables.table(head, rows[:SHOWN]))
        if len(objects) > SHOWN:
            filters = "--failed --since 24h" if head[0] == FAILED_HEAD else "--state started,queued"
            yield f"and {len(objects) - SHOWN} more: `schedappliance runs {filters}`"


def head_of(facts: dict[str, Any]) -> Iterator[str]:
    """The lines above the tables."""
    summary, failed = facts["summary"], facts["failed"]
    for trouble in facts["health"]["troubles"] or ["no trouble"]:
        yield visible(trouble)
    if hold := facts["health"]["held"]:
        reason = f": {hold['reason']}" if hold["reason"] else ""
        until = f" until {tables.time_text(ends_ms)}" if (ends_ms := hold.get("ends_ms")) is not None else ""
        held = f"held since {tables.time_text(hold['since_ms'])}{until} by {hold['user']}{reason}"
        yield visible(f"{held}; nothing new starts until {'then or ' if until else ''}`sched release`")
    if names := _names_of(facts["incidents"] or ()):
        others = " and others" if len(names) > SHOWN else ""
        yield visible(f"failed and not recovered: {', '.join(names[:SHOWN])}{others}; see `sched incidents`")
    more = "+" if len(failed) == facts["most"] else ""
    yield (
        f"{summary['jobs']} jobs, {summary['jobs_paused']} paused; {summary['programs_running']} programs run,"
        f" {summary['runs_queued']} runs wait; {len(failed)}{more} runs failed in 24 h;"
        f" up {lasted_text(summary['uptime_s'] * 1000)}"
    )


Table = tuple[tuple[str, ...], list[tuple[str, ...]], list[dict[str, Any]]]


def tables_of(facts: dict[str, Any], now_ms: int, age_ms: int = 0) -> Iterator[Table]:
    """The tables that are not empty: the head, the rows, and the run or the job of each row.

    `age_ms`: how long ago the appliance answered.
    """
    rows: list[tuple[str, ...]]
    if live := facts["live"]:
        rows = [
            (name_of(one), one["run"], one["state"], _since(one, now_ms, age_ms), one["reason"] or "") for one in live
        ]
        yield ("RUNNING", "RUN", "STATE", "SINCE", "REASON"), rows, live
    # One user's failures do not hide those of declared jobs.
    if failed := sorted(facts["failed"], key=lambda one: one["name"] is None):
        rows = [
            (name_of(one), one["run"], one["state"], tables.time_text(one["due_ms"]), one["reason"] or "")
            for one in failed
        ]
        yield (FAILED_HEAD, "RUN", "STATE", "DUE", "REASON"), rows, failed
    if jobs := facts["next"]:
        rows = [
            (job["name"] or job["command"], job["id"], "paused" if job["paused"] else _until(job, now_ms))
            for job in jobs
        ]
        yield ("NEXT", "ID", "IN"), rows, jobs


def _since(run: dict[str, Any], now_ms: int, age_ms: int) -> str:
    """How long a run has waited, or its program has run."""
    is_waiting = run["state"] == "queued" or run["took_ms"] is None
    return lasted_text(max(0, now_ms - run["claimed_ms"]) if is_waiting else run["took_ms"] + age_ms)


def _until(job: dict[str, Any], now_ms: int) -> str:
    return lasted_text(max(0, job["next_run_ms"] - now_ms))
