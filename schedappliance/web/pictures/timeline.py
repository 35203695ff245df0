"""The timeline: a lane for each job with what ran, overlapped, failed and will run, as on the terminal.

Rule: the size of the picture depends on the number of lanes, not on that of runs. Only some runs are links of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from markupsafe import Markup

from schedappliance.client.states import LEGEND
from schedappliance.diagnostics import counted
from schedappliance.web.appliance.columns import LIVE_NUMBERS, NEVER, NUMBERS, STATES, SUCCEEDED, RunColumns
from schedappliance.web.pictures.axes import Tick, ticks
from schedappliance.web.pictures.drawing import about, percent, shape, short
from schedappliance.web.pictures.lanes import COLUMNS, Lane, Span, Track, tracks
from schedappliance.web.rendering.formats import shown, sign, state
from schedappliance.web.rendering.times import Times

__all__ = ["Lane", "Span", "timeline"]

# In a lane with more runs than this, only those that did not succeed are links; and so many links in all.
LINKED_IN_LANE, LINKED = 48, 240
# How near to now a tick has no label, and none where there is little room, as a share of the width.
TOO_NEAR, NEAR = 0.035, 0.09
# The least width of a link, as a share of the width.
LEAST_LINK = 0.006
# Marks of a lane stand at least so many columns apart, or they would hide each other. A lane has so many at most.
APART, MOST_MARKS = 9, 24
# The height of a lane, in which paths are drawn. The stylesheet decides how high it is on the screen.
HEIGHT, MIDDLE = 24, 12
# The lines of a bar: an overlap is two, so that its shape tells it from one.
_LINES = {"overlap": (8, 16)}
_SEGMENTS = re.compile(rb"([^\0])\1*", re.DOTALL)
_PLAIN = {NUMBERS[state] for state in ("planned", "succeeded", "overlap")}


def timeline(
    columns: RunColumns,
    lanes: Sequence[Lane],
    span: Span,
    times: Times,
    run_href: Callable[[str], str],
    *,
    key: str = "timeline",
) -> Markup:
    """The figure. Each lane has the id `KEY-JOB`, so that it is known where it moves."""
    drawn = list(zip(lanes, tracks(columns, lanes, span), strict=True))
    drawn = [(lane, track) for lane, track in drawn if lane.job is not None or track.rows or lane.planned_ms]
    axis = ticks(span.since_ms, span.until_ms, times)
    linked = _runs_to_link(columns, [track for _, track in drawn])
    title = f"Runs from {times.absolute(span.since_ms)} to {times.absolute(span.until_ms)}"
    parts = [
        Markup('<figure class="timeline" id="{}" aria-label="{}">').format(key, title),
        _axis(axis, span),
        Markup('<div class="timeline-body">'),
        _grid(axis, span),
        Markup('<ul class="lanes">'),
    ]
    for (lane, track), rows in zip(drawn, linked, strict=True):
        links = _links(columns, rows, span, times, run_href)
        parts.append(_lane(f"{key}-{lane.job or 'others'}", lane, track, span, times, links))
    parts += [Markup("</ul></div>"), legend(), Markup("</figure>")]
    return Markup("").join(parts)


def legend() -> Markup:
    """What the shapes mean."""
    items = Markup("").join(Markup("<li>{}{}</li>").format(sign(name), state(name)) for name in LEGEND)
    return Markup('<figcaption><ul class="legend">{}</ul></figcaption>').format(items)


def _axis(axis: Iterable[Tick], span: Span) -> Markup:
    width = span.until_ms - span.since_ms
    text = Markup('<text class="{}" x="{}" y="14">{}</text>')
    labels = [
        text.format(
            "tick-minor" if near < NEAR and not one.is_day else _tick_class(one),
            percent(one.at_ms - span.since_ms, width),
            one.label,
        )
        for one in axis
        # The label `now` needs some room.
        if (near := abs(one.at_ms - span.now_ms) / width) > TOO_NEAR
    ]
    now = text.format("tick-now", percent(span.now_ms - span.since_ms, width), "now")
    return Markup('<div class="timeline-axis"><svg aria-hidden="true">{}</svg></div>').format(
        Markup("").join([*labels, now])
    )


def _tick_class(tick: Tick) -> str:
    return "tick-day" if tick.is_day else "tick-minor" if tick.is_minor else "tick"


def _grid(axis: Iterable[Tick], span: Span) -> Markup:
    """The lines behind all lanes: those of the ticks, and now, with the future shaded."""
    width = span.until_ms - span.since_ms
    line = Markup('<line class="{}" x1="{}" x2="{}" y2="100%"/>')
    lines_at = [(_tick_class(one), percent(one.at_ms - span.since_ms, width)) for one in axis]
    now, future = (percent(one, width) for one in (span.now_ms - span.since_ms, span.until_ms - span.now_ms))
    shade = Markup('<rect class="future" x="{}" width="{}" height="100%"/>').format(now, future)
    lines = [line.format(name, x, x) for name, x in [*lines_at, ("now", now)]]
    return Markup('<svg class="timeline-grid" aria-hidden="true">{}</svg>').format(Markup("").join([shade, *lines]))


def _lane(key: str, lane: Lane, track: Track, span: Span, times: Times, links: Markup) -> Markup:
    name = Markup("<bdi>{}</bdi>").format(shown(lane.name))
    if lane.href is not None:
        name = Markup('<a href="{}">{}</a>').format(lane.href, name)
    if lane.paused:
        name += Markup(' <small class="k-warn">paused</small>')
    return Markup(
        '<li class="lane" id="{}"><span class="lane-name" title="{}">{}</span>'
        '<svg class="lane-plot" role="group" aria-label="{}">'
        '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" width="100%" height="100%">{}{}</svg>{}{}</svg></li>'
    ).format(
        key,
        shown(lane.name),
        name,
        _words(lane, track, times),
        COLUMNS,
        HEIGHT,
        _usual(lane, track, span),
        _paths(track),
        Markup("").join(_marks(track)),
        links,
    )


def _words(lane: Lane, track: Track, times: Times) -> str:
    """What a lane shows, for those who do not see it."""
    runs = len(track.rows)
    parts = [f"{shown(lane.name)}: {counted(runs, 'run')}"]
    parts += [
        f"{number:,} {state(STATES[at])}"
        for at, number in sorted(track.counts.items())
        if at != SUCCEEDED or number < runs
    ]
    if lane.planned_ms:
        parts.append(f"next due {times.relative(lane.planned_ms[0])}")
    return ", ".join(parts)


def _paths(track: Track) -> Markup:
    """One path for each state: lines from column to column."""
    segments_of: dict[int, list[tuple[int, int]]] = {}
    for segment in _SEGMENTS.finditer(track.cells):
        segments_of.setdefault(segment[1][0] - 1, []).append(segment.span())
    paths = []
    for number, segments in sorted(segments_of.items()):
        lines = "".join(_line(segments, y) for y in _LINES.get(STATES[number], (MIDDLE,)))
        paths.append(f'<path class="p-{STATES[number]}" d="{lines}"/>')
    return Markup("".join(paths))


def _line(segments: Iterable[tuple[int, int]], y: int) -> str:
    parts, at = [f"M0 {y}"], 0
    for begin, end in segments:
        parts.append(f"m{begin - at} 0h{end - begin}")
        at = end
    return "".join(parts)


def _usual(lane: Lane, track: Track, span: Span) -> Markup:
    """How long the run that goes on usually takes, as an outline from its begin."""
    if lane.usual_ms is None or not track.counts[NUMBERS["started"]]:
        return Markup("")
    width = span.until_ms - span.since_ms
    begin = (track.begin - span.since_ms) * COLUMNS / width
    end = min(COLUMNS, begin + lane.usual_ms * COLUMNS / width)
    begin = max(0, begin)
    if end - begin < 1:
        return Markup("")
    return Markup('<rect class="usual" x="{}" y="4" width="{}" height="16"/>').format(short(begin), short(end - begin))


def _marks(track: Track) -> Iterator[Markup]:
    """The shapes of the states that are no plain bar, each at its end: those of the newest runs, if there are many."""
    following, number = COLUMNS + float(APART), 0
    for segment in reversed(list(_SEGMENTS.finditer(track.cells))):
        cell, (begin, end) = segment[1][0] - 1, segment.span()
        if cell in _PLAIN:
            continue
        column = end if cell in LIVE_NUMBERS else (begin + end) / 2 if end - begin < APART else end - APART / 2
        if following - column >= APART:
            following, number = column, number + 1
            yield shape(STATES[cell], percent(column, COLUMNS), "50%")
        if number == MOST_MARKS:
            return


def _runs_to_link(columns: RunColumns, drawn: Sequence[Track]) -> list[list[int]]:
    """The rows of the runs of each lane that are links: first those that did not succeed, the newest first."""
    states, wanted, sparse = columns.states, list[tuple[int, int]](), list[tuple[int, int]]()
    for lane, track in enumerate(drawn):
        wanted += [(at, lane) for at in track.rows if states[at] != SUCCEEDED]
        if len(track.rows) <= LINKED_IN_LANE:
            sparse += [(at, lane) for at in track.rows if states[at] == SUCCEEDED]
    chosen = sorted(wanted, reverse=True)[:LINKED]
    chosen += sorted(sparse, reverse=True)[: LINKED - len(chosen)]
    result: list[list[int]] = [[] for _ in drawn]
    # Those that did not succeed come last, on top of the others.
    for at, lane in reversed(chosen):
        result[lane].append(at)
    return result


def _links(
    columns: RunColumns, rows: Iterable[int], span: Span, times: Times, run_href: Callable[[str], str]
) -> Markup:
    width = span.until_ms - span.since_ms
    link = Markup('<a href="{}" tabindex="-1"><title>{}</title><rect class="hit" x="{}" width="{}" height="100%"/></a>')
    parts = []
    for at in rows:
        run, begin = columns.row(at), columns.started[at]
        first = max(0, (columns.due[at] if begin == NEVER else begin) - span.since_ms)
        last = (span.now_ms if columns.states[at] in LIVE_NUMBERS else columns.end(at)) - span.since_ms
        wide = max(min(last, width) - first, LEAST_LINK * width)
        left = min(first, width - wide)
        parts.append(link.format(run_href(run.run), about(run, times), percent(left, width), percent(wide, width)))
    return Markup("").join(parts)
