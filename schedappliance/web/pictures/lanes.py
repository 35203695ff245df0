"""Which jobs have a lane in the timeline, in which order, and what each column of a lane shows.

Rule: one pass over the arrays for all lanes, since 110,000 runs must be drawn in a fifth of a second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from schedappliance.client.states import FAILED
from schedappliance.diagnostics import counted
from schedappliance.web.appliance.columns import LIVE_NUMBERS, NEVER, NUMBERS, RunColumns

# Two minutes of a day. A column that is narrower than a pixel cannot be seen.
COLUMNS = 720
MOST_PLANNED = 200
OVERLAP = NUMBERS["overlap"]
# A failure takes at least so many columns, so that it can be seen and pointed at.
FAILURE_COLUMNS = 2
_FAILED = frozenset(NUMBERS[state] for state in FAILED)


@dataclass(frozen=True)
class Span:
    since_ms: int
    now_ms: int
    until_ms: int


@dataclass(frozen=True)
class Lane:
    """The head of a lane. `job`: the id; None for the lane `others`, which has all runs of jobs without a lane."""

    name: str
    job: str | None
    href: str | None = None
    paused: bool = False
    planned_ms: Sequence[int] = ()
    usual_ms: int | None = None


@dataclass
class Track:
    """What a lane shows. `cells`: for each column the number of a state plus 1, or 0.

    `rows`: the rows of its runs; `counts`: how many by state number. `begin` and `end`: those of the run
    that ended last.
    """

    cells: bytearray = field(default_factory=lambda: bytearray(COLUMNS))
    rows: list[int] = field(default_factory=list)
    counts: Counter[int] = field(default_factory=Counter)
    begin: int = NEVER
    end: int = NEVER

    def put(self, first: int, last: int, cell: int) -> None:
        cells = self.cells
        for column in range(max(0, first), min(COLUMNS - 1, last) + 1):
            if cells[column] < cell:
                cells[column] = cell


def lanes(
    jobs: Sequence[Mapping[str, Any]],
    columns: RunColumns,
    span: Span,
    *,
    href: Callable[[Mapping[str, Any]], str],
    planned: Mapping[str, Sequence[int]] | None = None,
    most: int = 60,
) -> list[Lane]:
    """The lanes of the jobs, rows of `json sched list`: failing ones first, then those that are due next, then `others`.

    `planned`: the due times of jobs with a calendar, as `sched next` lists them. Those of an interval are computed.
    """
    own: list[Mapping[str, Any]] = []
    rest: list[Mapping[str, Any]] = []
    for job in jobs:
        has_lane = job["name"] or job["calendar"] or job["interval_ms"] is not None
        (own if has_lane else rest).append(job)
    failing = columns.failing()
    own.sort(key=lambda job: (job["id"] not in failing, job["next_run_ms"], job["id"]))
    usual = columns.usual([job["id"] for job in own[:most]])
    shown = [
        Lane(
            job["name"] or job["command"],
            job["id"],
            href(job),
            job["paused"],
            _planned(job, span, planned or {}),
            usual[job["id"]],
        )
        for job in own[:most]
    ]
    rest += own[most:]
    due = [job["next_run_ms"] for job in rest if not job["paused"] and job["next_run_ms"] <= span.until_ms]
    name = f"others ({counted(len(rest), 'job')})" if rest else "others"
    return [*shown, Lane(name, None, planned_ms=sorted(due)[:MOST_PLANNED])]


def _planned(job: Mapping[str, Any], span: Span, planned: Mapping[str, Sequence[int]]) -> Sequence[int]:
    first, interval = job["next_run_ms"], job["interval_ms"]
    if job["paused"]:
        return ()
    if interval:
        step = max(interval, (span.until_ms - first) // MOST_PLANNED, 1)
        return range(first, span.until_ms + 1, step)
    return [at for at in planned.get(job["id"], [first]) if at <= span.until_ms]


def tracks(columns: RunColumns, heads: Sequence[Lane], span: Span) -> list[Track]:
    """What each lane shows."""
    result = [Track() for _ in heads]
    others = next((track for head, track in zip(heads, result, strict=True) if head.job is None), None)
    of_job = {columns.number_of(head.job): track for head, track in zip(heads, result, strict=True) if head.job}
    _draw(columns, of_job, others, span)
    scale = COLUMNS / max(1, span.until_ms - span.since_ms)
    for head, track in zip(heads, result, strict=True):
        track.counts.update(map(columns.states.__getitem__, track.rows))
        for due in head.planned_ms:
            column = int((due - span.since_ms) * scale)
            track.put(column, column, 1)
    return result


def _draw(columns: RunColumns, of_job: Mapping[int, Track], others: Track | None, span: Span) -> None:
    """Puts the runs of the span in the lanes. Most of them are short: they need one column."""
    since, now, until, scale = (
        span.since_ms,
        span.now_ms,
        span.until_ms,
        COLUMNS / max(1, span.until_ms - span.since_ms),
    )
    rows = zip(columns.jobs, columns.due, columns.started, columns.ended, columns.states, strict=True)
    for at, (job, due, started, ended, state) in enumerate(rows):
        begin = due if started == NEVER else started
        end = now if state in LIVE_NUMBERS else due if ended == NEVER else ended
        if end < since or begin > until:
            continue
        track = of_job.get(job, others)
        if track is None:
            continue
        track.rows.append(at)
        first, last = int((begin - since) * scale), int((end - since) * scale)
        if first == last < COLUMNS and begin >= since and state not in _FAILED:
            if track.cells[first] <= state:
                track.cells[first] = state + 1
        else:
            track.put(first, last + (FAILURE_COLUMNS - 1 if state in _FAILED else 0), state + 1)
        if started != NEVER:
            # A run that waited may have a begin before that of the run which ended last.
            if begin < track.end and end > track.begin:
                column = int((max(begin, track.begin, since) - since) * scale)
                if column < COLUMNS and track.cells[column] <= OVERLAP:
                    track.cells[column] = OVERLAP + 1
            if end > track.end:
                track.begin, track.end = begin, end
