"""`schedappliance timeline`: a lane for each job in the terminal, with what ran, overlapped, failed and will run.

Rule: what does not fit is counted, and a line says so.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

from schedappliance.cli import tables
from schedappliance.cli.arguments import positive_duration, whole_number
from schedappliance.cli.asking import answer_of, asking_parser, data_in, data_of, print_json, session_of
from schedappliance.cli.errors import OK
from schedappliance.cli.runs import name_of
from schedappliance.client.console import Session
from schedappliance.client.states import FAILED, LEGEND, LIVE, RANKS, SHAPES
from schedappliance.client.wire import quoted
from schedappliance.clock import SystemClock, local_text
from schedappliance.model.values import MAX_DURATION_MS
from schedappliance.visible import visible, width_of

DESCRIPTION = """\
Show the runs of the last hours and the due times of the next ones, a lane for
each job: first jobs whose last run failed, then those that are due next. Jobs
without a lane, and commands that run once, share the lane `others`."""
HALF_DAY_MS = 12 * 3_600_000
# A page of 2,000 runs occupies the deciding thread for 45 ms; one of 5,000 would delay due jobs by 110.
PAGE, MOST_RUNS, MOST_JOBS, MOST_PLANNED = 2000, 20_000, 5000, 100
# The number of lanes if stdout is not a terminal, and the number of lines of a screen that hold no lane.
LANES, OTHER_LINES = 40, 6
LONGEST_NAME = 24
# The signs of the shapes, in UTF-8 and in ASCII.
SIGNS = {
    "dot": ("·", "."),
    "bar": ("━", "="),
    "diamond": ("◇", "-"),
    "ring": ("○", "o"),
    "dashed": ("◌", "?"),
    "triangle": ("▶", ">"),
    "double": ("╪", "#"),
    "cross": ("✗", "X"),
}

Data = dict[str, Any]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    timeline = asking_parser("timeline", DESCRIPTION)
    for name, what in (("--since", "how much of the past"), ("--until", "how much of the future")):
        help_text = f"{what}: 90m, 2d; default: 12h"
        timeline.add_argument(name, metavar="DURATION", type=positive_duration, default=HALF_DAY_MS, help=help_text)
    timeline.add_argument(
        "--lanes",
        metavar="N",
        type=lambda text: whole_number(text, 1, MOST_JOBS),
        help=f"maximum number of lanes; default: as many as fit the terminal, or {LANES}",
    )
    timeline.add_argument("job", metavar="JOB", nargs="?", help="name or id of a job; default: all jobs")
    return timeline.parse_args(arguments)


def run(options: argparse.Namespace) -> int:
    """Raises Unusable and Failure."""
    size = tables.screen_size()
    most = options.lanes or (max(1, size.lines - OTHER_LINES) if sys.stdout.isatty() else LANES)
    with session_of(options) as session:
        data = data_for(session, options, SystemClock().moment().wall, most)
    if options.json:
        return print_json(data)
    tables.show(list(lines(data, size.columns, has_utf8(), tables.is_coloured())))
    return OK


def has_utf8() -> bool:
    """Whether the locale of the terminal is one of UTF-8. Python's own mode says nothing about it."""
    locale = next((os.environ[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if os.environ.get(name)), "")
    return locale.lower().replace("-", "").endswith("utf8")


def data_for(session: Session, options: argparse.Namespace, now_ms: int, most: int) -> Data:
    """The lanes, and what they leave out. Raises Failure."""
    until_ms = now_ms + options.until
    runs, left_out = _runs(session, options, now_ms)
    jobs = {job["id"]: job for job in data_of(session, f"sched list limit {MOST_JOBS}")[0]}
    if options.job is not None:
        jobs = {key: job for key, job in jobs.items() if options.job in (key, job["name"])}
    elif len(jobs) == MOST_JOBS:
        left_out.append(f"jobs after the first {MOST_JOBS}")
    by_job: dict[str, list[Data]] = {}
    for one in runs:
        by_job.setdefault(one["id"], []).append(one)
    own = _in_order([key for key in jobs.keys() | by_job.keys() if _has_lane(key, jobs, by_job)], jobs, by_job)
    shown = own[: most if len(own) <= most and len(own) == len(jobs.keys() | by_job.keys()) else most - 1] or own[:1]
    lanes = [_lane(session, key, jobs.get(key), by_job.get(key, []), until_ms, left_out) for key in shown]
    rest = (jobs.keys() | by_job.keys()) - set(shown)
    others = [one for one in runs if one["id"] in rest]
    due = [jobs[key]["next_run_ms"] for key in rest if key in jobs and not jobs[key]["paused"]]
    planned = sorted(one for one in due if now_ms <= one <= until_ms)
    if rest:
        name = f"others ({len(rest)})"
        lanes.append({"name": name, "id": None, "paused": False, "runs": others, "planned_ms": planned})
    if len(own) > len(shown):
        left_out.append(f"lanes of {len(own) - len(shown)} jobs, which are in `others` with their next due time")
    span = {"since_ms": now_ms - options.since, "now_ms": now_ms, "until_ms": until_ms}
    return span | {"lanes": lanes, "left_out": list(dict.fromkeys(left_out))}


def _runs(session: Session, options: argparse.Namespace, now_ms: int) -> tuple[list[Data], list[str]]:
    """The runs, the newest first, and what is missing. Runs that were due earlier and ended since, or go on, are included."""
    job = "" if options.job is None else f"{quoted(options.job)} "
    # A run that was due earlier may have gone on in the span that is shown, however long ago it was due.
    active_s = min(options.since // 1000 + 1, MAX_DURATION_MS // 1000)
    line: str | None = f"sched history {job}active {active_s}s limit {PAGE}"
    runs: list[Data] = []
    while line is not None and len(runs) < MOST_RUNS:
        answer = answer_of(session, line)
        runs += data_in(answer)[0]
        line = answer.get("next")
    live, _ = data_of(session, f"sched history {job}state started,queued limit {PAGE}")
    left_out = [f"runs before {tables.time_text(runs[-1]['due_ms'])}"] if line is not None and runs else []
    every = {one["run"]: one for one in (*live, *runs)}.values()
    return [one for one in every if _end(one, now_ms) >= now_ms - options.since], left_out


def _end(run: Data, now_ms: int) -> int:
    if run["state"] in LIVE:
        return now_ms
    return int(run["ended_ms"] or run["due_ms"])


def _has_lane(key: str, jobs: dict[str, Data], by_job: dict[str, list[Data]]) -> bool:
    """Whether a job is declared or recurrent. A single run of a command is one of many."""
    job = jobs.get(key)
    if job is None:
        return by_job[key][0]["name"] is not None or len(by_job[key]) > 1
    return bool(job["name"] or job["calendar"] or job["interval_ms"] is not None)


def _in_order(keys: list[str], jobs: dict[str, Data], by_job: dict[str, list[Data]]) -> list[str]:
    def place(key: str) -> tuple[bool, float, str]:
        ended = next((one for one in by_job.get(key, []) if one["ended_ms"] is not None), None)
        is_failing = ended is not None and ended["state"] in FAILED
        due = jobs[key]["next_run_ms"] if key in jobs else None
        return not is_failing, float("inf") if due is None else due, key

    return sorted(keys, key=place)


def _lane(session: Session, key: str, job: Data | None, runs: list[Data], until_ms: int, left_out: list[str]) -> Data:
    planned: list[int] = []
    if job is not None and not job["paused"] and job["next_run_ms"] is not None:
        next_ms, interval = job["next_run_ms"], job["interval_ms"]
        if interval:
            planned = list(range(next_ms, until_ms + 1, max(interval, (until_ms - next_ms) // MOST_PLANNED, 1)))
        elif job["calendar"] and next_ms <= until_ms:
            planned = [one["due_ms"] for one in data_of(session, f"sched next {quoted(key)} {MOST_PLANNED}")[0]["next"]]
            if len(planned) == MOST_PLANNED and planned[-1] < until_ms:
                left_out.append(f"due times of a job after its next {MOST_PLANNED}")
        else:
            planned = [next_ms]
    name = name_of(runs[0]) if job is None else str(job["name"] or job["command"])
    planned = [one for one in planned if one <= until_ms]
    return {"name": name, "id": key, "paused": bool(job and job["paused"]), "runs": runs, "planned_ms": planned}


def lines(data: Data, width: int, utf8: bool, coloured: bool) -> Iterator[str]:
    """The timeline for people, as wide as `width` at most."""
    longest = max(1, min(LONGEST_NAME, width // 3))
    names = [
        _cut(visible(lane["name"]) + (" (paused)" if lane["paused"] else ""), utf8, longest) for lane in data["lanes"]
    ]
    margin = max([width_of(name) for name in names], default=0) + 1
    columns = max(1, width - margin)
    since, now = data["since_ms"], data["now_ms"]
    per_column = (data["until_ms"] - since) / columns
    now_at = min(columns - 1, int((now - since) / per_column))
    yield " " * margin + _axis(since, per_column, columns)
    for name, lane in zip(names, data["lanes"], strict=True):
        cells = _cells(lane, now, columns, lambda instant: int((instant - since) / per_column))
        mark = "│" if utf8 else "|"
        padding = " " * (margin - width_of(name))
        yield (name + padding + _drawn(cells, now_at, mark, utf8, coloured)).rstrip()
    signs = dict.fromkeys(f"{_sign(state, utf8)} {state}" for state in LEGEND)
    yield _cut("  ".join(signs), utf8, width)
    if not data["lanes"]:
        yield "no runs and no due times"
    for text in data["left_out"]:
        yield f"not shown: {text}"


def _cells(lane: Data, now_ms: int, columns: int, place: Callable[[int], int]) -> list[str | None]:
    """What each column of a lane shows. `place`: the column of an instant."""
    cells: list[str | None] = [None] * columns
    for due in lane["planned_ms"]:
        _put(cells, place(due), "planned")
    latest_end = 0
    for one in sorted(lane["runs"], key=_begin):
        begin, end = _begin(one), _end(one, now_ms)
        last = min(columns - 1, place(end))
        is_live = one["state"] in LIVE
        for at in range(max(0, place(begin)), last):
            _put(cells, at, one["state"] if is_live else "succeeded")
        _put(cells, last, one["state"])
        if one["started_ms"] is not None:
            if begin < latest_end:
                _put(cells, max(0, place(begin)), "overlap")
            latest_end = max(latest_end, end)
    return cells


def _begin(run: Data) -> int:
    return int(run["started_ms"] or run["due_ms"])


def _put(cells: list[str | None], at: int, state: str) -> None:
    if 0 <= at < len(cells):
        before = cells[at]
        if before is None or RANKS[state] > RANKS[before]:
            cells[at] = state


def _drawn(cells: list[str | None], now_at: int, mark: str, utf8: bool, coloured: bool) -> str:
    parts = []
    for (state, _), group in groupby(enumerate(cells), lambda pair: (pair[1], pair[1] is None and pair[0] == now_at)):
        places = [at for at, _ in group]
        text = "".join(_sign(state, utf8) if state else mark if at == now_at else " " for at in places)
        colour = tables.COLOURS.get(state or "", "") if coloured else ""
        parts.append(f"\x1b[{colour}m{text}\x1b[0m" if colour else text)
    return "".join(parts)


def _sign(state: str, utf8: bool) -> str:
    return SIGNS[SHAPES[state]][not utf8]


def _axis(since_ms: int, per_column: float, columns: int) -> str:
    """The hours, in the zone of this machine."""
    text = ""
    for at in range(0, columns - 4, 12):
        text = text.ljust(at) + local_text(int(since_ms + at * per_column))[11:16]
    return text


def _cut(text: str, utf8: bool, width: int) -> str:
    if width_of(text) <= width:
        return text
    while width_of(text) > width - 1:
        text = text[:-1]
    return text + ("…" if utf8 else "~")
