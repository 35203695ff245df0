"""A month: on each day what has run, and what is due.

Rule: it is a table, so that a screen reader says the weekday and the date of each day.
"""

from __future__ import annotations

from bisect import bisect_right
from calendar import Calendar as Weeks
from calendar import monthrange
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from markupsafe import Markup

from schedappliance.client.states import KINDS, LEGEND, SHAPES
from schedappliance.model.calendars.days import MONTHS, WEEKDAYS
from schedappliance.web.appliance.columns import NEVER, STATES, RunColumns
from schedappliance.web.pictures.drawing import percent
from schedappliance.web.rendering.formats import number, sign, state
from schedappliance.web.rendering.times import DAY_MS, Times

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Day:
    """`due`: the due times that are still to come; `counts`: the runs by state."""

    due: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)


def month_edges(year: int, month: int, times: Times) -> list[int]:
    """The instants at which the days of a month begin in the zone, and the end of the last one."""
    first = (datetime(year, month, 1, tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)
    return [_begin(first + day * DAY_MS, times) for day in range(monthrange(year, month)[1] + 1)]


def _begin(midnight_utc_ms: int, times: Times) -> int:
    """When a day begins in the zone, given its begin in UTC."""
    near = midnight_utc_ms - times.zone.offset_at(midnight_utc_ms // 1000) * 1000
    return midnight_utc_ms - times.zone.offset_at(near // 1000) * 1000


def month_name(year: int, month: int) -> str:
    """`November 2026`."""
    return f"{MONTHS[month - 1]} {year}"


def month_span(year: int, month: int, times: Times) -> tuple[int, int]:
    """The begin and the end of a month in the zone."""
    edges = month_edges(year, month, times)
    return edges[0], edges[-1]


def month_days(
    columns: RunColumns, planned_ms: Iterable[int], year: int, month: int, times: Times, job: str | None = None
) -> dict[int, Day]:
    """The days of a month on which there is anything: the runs of a job, or of all, and the due times after now."""
    edges = month_edges(year, month, times)
    first, end = edges[0], edges[-1]
    of_job = None if job is None else columns.number_of(job)
    results: Counter[tuple[int, int]] = Counter()
    rows = zip(columns.jobs, columns.due, columns.started, columns.states, strict=True)
    for number_of_job, due, started, result in rows:
        begin = due if started == NEVER else started
        if first <= begin < end and (of_job is None or number_of_job == of_job):
            results[bisect_right(edges, begin), result] += 1
    planned = Counter(bisect_right(edges, at) for at in planned_ms if max(first, times.now_ms) <= at < end)
    counts: dict[int, dict[str, int]] = {}
    for (day, result), runs in results.items():
        counts.setdefault(day, {})[STATES[result]] = runs
    return {day: Day(planned[day], counts.get(day, {})) for day in counts.keys() | planned.keys()}


def calendar(
    year: int,
    month: int,
    days: Mapping[int, Day],
    times: Times,
    day_href: Callable[[str], str] | None = None,
) -> Markup:
    """The table of a month. `day_href`: the address for a date such as `2026-11-29`."""
    head = Markup("").join(
        Markup('<th scope="col"><abbr title="{}">{}</abbr></th>').format(name, name[:3]) for name in WEEKDAYS
    )
    today = times.day(times.now_ms)
    weeks = Markup("").join(
        Markup("<tr>{}</tr>").format(
            Markup("").join(
                _cell(f"{year:04}-{month:02}-{day:02}", day, days.get(day, Day()), today, day_href)
                if day
                else Markup('<td class="other"></td>')
                for day in week
            )
        )
        for week in Weeks().monthdayscalendar(year, month)
    )
    return Markup(
        '<table class="calendar"><caption class="sr">{}</caption><thead><tr>{}</tr></thead><tbody>{}</tbody></table>'
    ).format(month_name(year, month), head, weeks)


def _cell(date: str, day: int, content: Day, today: str, day_href: Callable[[str], str] | None) -> Markup:
    head = Markup('<time datetime="{}">{}</time>').format(date, day)
    if day_href is not None and (content.due or content.counts):
        head = Markup('<a href="{}">{}</a>').format(day_href(date), head)
    kind = "today" if date == today else "past" if date < today else "coming"
    current = Markup(' aria-current="date"') if kind == "today" else Markup("")
    return Markup('<td class="{}"{}><div class="day">{}{}</div></td>').format(kind, current, head, _results(content))


def _results(content: Day) -> Markup:
    """The runs as a bar with a share for each kind, and a number for each shape but success: a day has little room."""
    runs = sum(content.counts.values())
    parts = []
    if runs:
        parts.append(_bar(content.counts, runs))
        line = Markup('<span class="day-count k-{}">{}{}</span>')
        for name in LEGEND:
            alike = sum(count for other, count in content.counts.items() if SHAPES[other] == SHAPES[name])
            if alike and name != "succeeded":
                parts.append(line.format(KINDS[name], sign(name), _counted(alike, state(name))))
        parts.append(
            Markup('<span class="day-count muted">{}</span>').format(_counted(runs, "run" + "s" * (runs != 1)))
        )
    if content.due:
        parts.append(
            Markup('<span class="day-count muted">{}{}</span>').format(sign("planned"), _counted(content.due, "due"))
        )
    return Markup("").join(parts)


def _counted(count: int, what: str) -> Markup:
    return Markup('{} <span class="what">{}</span>').format(number(count), what)


def _bar(counts: Mapping[str, int], runs: int) -> Markup:
    kinds: Counter[str] = Counter()
    for name, count in counts.items():
        kinds[KINDS[name]] += count
    share, parts = 0, []
    for kind in ("bad", "warn", "live", "good"):
        if kinds[kind]:
            # A single failure among thousands of runs is to be seen too.
            parts.append((kind, max(kinds[kind], runs // 25)))
    whole = sum(count for _, count in parts)
    shares = []
    for kind, count in parts:
        shares.append(
            Markup('<rect class="b-{}" x="{}" width="{}" height="100%"/>').format(
                kind, percent(share, whole), percent(count, whole)
            )
        )
        share += count
    return Markup('<svg class="share" aria-hidden="true">{}</svg>').format(Markup("").join(shares))
