"""`schedappliance jobs`: the jobs for people, as a table with the end of their last runs."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

from schedappliance.cli import tables
from schedappliance.cli.asking import answer_of, asking_parser, data_of, print_json, session_of
from schedappliance.cli.errors import OK
from schedappliance.client.console import Session
from schedappliance.client.states import FAILED
from schedappliance.client.wire import quoted
from schedappliance.clock import lasted_text

DESCRIPTION = """\
Show the jobs that wait or are paused, the next one due first. LAST is the end of
the last run. With more than a thousand jobs, it may be empty for jobs none of
whose runs are among the last 2,000 of all."""
RUNS_EXAMINED = 2000
# Each question takes the appliance a millisecond.
JOBS_EXAMINED = 1000
ENDED = "succeeded,failed,timed_out,interrupted,replaced,cancelled,skipped,missed"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    jobs = asking_parser("jobs", DESCRIPTION)
    which = jobs.add_mutually_exclusive_group()
    which.add_argument("--failing", action="store_true", help="only jobs whose last run failed")
    which.add_argument("--paused", action="store_true", help="only jobs that are paused")
    jobs.add_argument("find", metavar="TEXT", nargs="?", help="a part of the id, the name or the command")
    return jobs.parse_args(arguments)


def run(options: argparse.Namespace) -> int:
    """Raises Unusable and Failure."""
    with session_of(options) as session:
        rows, _ = data_of(session, "sched list" + (f" find {quoted(options.find)}" if options.find else ""))
        last = last_runs(session, [job["id"] for job in rows])
    wanted = [job | {"last": last.get(job["id"])} for job in rows]
    wanted = [job for job in wanted if _is_wanted(job, options)]
    if options.json:
        return print_json(wanted)
    tables.show(tables.table(("JOB", "ID", "STATE", "NEXT", "SCHEDULE", "LAST", "ENDED"), map(_cells, wanted)))
    return OK


def last_runs(session: Session, jobs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The last run of each job that has ended, by the id of the job. Jobs that run seldom are asked for one by one."""
    runs, _ = data_of(session, f"sched history limit {RUNS_EXAMINED}")
    last: dict[str, dict[str, Any]] = {}
    for one in runs:
        if one["ended_ms"] is not None:
            last.setdefault(one["id"], one)
    if len(runs) == RUNS_EXAMINED:
        for job in [job for job in jobs if job not in last][:JOBS_EXAMINED]:
            # A job that has gone meanwhile has no answer.
            for one in answer_of(session, f"sched history {job} state {ENDED} limit 1")["data"] or ():
                last[job] = one
    return last


def is_failing(job: dict[str, Any]) -> bool:
    return job["last"] is not None and job["last"]["state"] in FAILED


def _is_wanted(job: dict[str, Any], options: argparse.Namespace) -> bool:
    return not (options.failing and not is_failing(job)) and not (options.paused and not job["paused"])


def _cells(job: dict[str, Any]) -> tuple[str, ...]:
    last = job["last"] or {"state": "", "ended_ms": None}
    return (
        job["name"] or job["command"],
        job["id"],
        "paused" if job["paused"] else "waiting",
        tables.time_text(job["next_run_ms"]),
        ", ".join(schedule_of(job)),
        last["state"],
        tables.time_text(last["ended_ms"]),
    )


def schedule_of(job: dict[str, Any]) -> Iterator[str]:
    """When a job runs, in short."""
    if job["calendar"]:
        yield from job["calendar"]
    elif job["interval_ms"] is not None:
        yield f"every {lasted_text(job['interval_ms'])}"
    else:
        yield "once"
