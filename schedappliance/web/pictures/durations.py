"""How long the last runs of a job took, as bars, with the usual duration as a line.

Rule: the highest bar is the longest run, except if one run would make all others invisible: its bar is cut, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup

from schedappliance.client.states import FAILED, LIVE
from schedappliance.diagnostics import counted
from schedappliance.web.appliance.columns import RunRow
from schedappliance.web.pictures.drawing import about, percent, shape, short
from schedappliance.web.rendering.formats import took
from schedappliance.web.rendering.times import Times

MOST = 100
# The height of the bars, in pixels; above them is room for the shapes of failures, below for those of runs without a bar.
TOP, HEIGHT, FOOT = 16, 128, 16
# The height of a label, and the fewest steps for bars: a single bar would be as wide as the picture.
LABEL, LEAST_PLACES = 14, 25
# A bar is cut at so many times the usual duration.
CUT = 5


def durations(
    runs: Sequence[RunRow], href: Callable[[str], str], times: Times, *, usual_ms: int | None = None
) -> Markup:
    """The newest runs, given the newest first. The oldest is at the left."""
    shown = list(reversed(runs[:MOST]))
    lasted = [_lasted(run, times.boot_ms) for run in shown]
    longest = max((one for one in lasted if one is not None), default=0)
    highest = max(1, longest if not usual_ms else min(longest, CUT * usual_ms) or usual_ms)
    if not shown:
        return Markup('<p class="muted">No run yet. A bar for each run appears here.</p>')
    lines, labels = _scale(highest, usual_ms)
    steps = max(len(shown), LEAST_PLACES)
    bars = [
        _bar(run, duration, highest, number, steps, href, times)
        for number, (run, duration) in enumerate(zip(shown, lasted, strict=True), steps - len(shown))
    ]
    return Markup(
        '<figure class="durations"><svg class="durations-axis" height="{0}" aria-hidden="true">{1}</svg>'
        '<svg class="durations-plot" height="{0}" role="group" aria-label="{2}">{3}{4}</svg>{5}</figure>'
    ).format(
        TOP + HEIGHT + FOOT,
        labels,
        _words(shown, longest, usual_ms),
        lines,
        Markup("").join(bars),
        _caption(shown, times),
    )


def _lasted(run: RunRow, boot_ms: int) -> int | None:
    return run.took_ms if run.began_ms is None else max(0, boot_ms - run.began_ms)


def _words(runs: Sequence[RunRow], longest: int, usual_ms: int | None) -> str:
    usual = f", usually {took(usual_ms)}" if usual_ms is not None else ""
    return f"durations of the last {counted(len(runs), 'run')}: at most {took(longest)}{usual}"


def _scale(highest: int, usual_ms: int | None) -> tuple[Markup, Markup]:
    """The lines of nothing, of the highest bar and of the usual duration, and their labels."""
    heights: list[tuple[str, float, str]] = [("scale", TOP, took(highest)), ("scale", TOP + HEIGHT, "0")]
    if usual_ms:
        y = TOP + HEIGHT * (1 - min(1, usual_ms / highest))
        # Two labels at one point could not be read.
        heights = [one for one in heights if abs(one[1] - y) > LABEL]
        heights.append(("median", y, took(usual_ms)))
    line = Markup('<line class="{0}" x2="100%" y1="{1}" y2="{1}"/>')
    label = Markup('<text class="{}" y="{}">{}</text>')
    return (
        Markup("").join(line.format(name, short(y)) for name, y, _ in heights),
        Markup("").join(label.format(name, short(y + 4), text) for name, y, text in heights),
    )


def _bar(
    run: RunRow, lasted: int | None, highest: int, number: int, steps: int, href: Callable[[str], str], times: Times
) -> Markup:
    middle, x, width = (percent(number + at, steps) for at in (0.5, 0.12, 0.76 - number))
    link = Markup(
        '<a href="{}" tabindex="-1"><title>{}</title>{}<rect class="hit" x="{}" width="{}" height="100%"/></a>'
    )
    parts = Markup("")
    if lasted is None:
        parts += shape(run.state, middle, str(TOP + HEIGHT + FOOT // 2))
    else:
        height = max(2, HEIGHT * min(1, lasted / highest))
        top = TOP + HEIGHT - height
        parts += Markup('<rect class="d-{}" x="{}" y="{}" width="{}" height="{}"/>').format(
            run.state, x, short(top), width, short(height)
        )
        if lasted > highest:
            # The bar is longer than the picture is high.
            parts += Markup('<rect class="cut" x="{}" y="{}" width="{}" height="3"/>').format(x, TOP + 8, width)
        if run.state in FAILED:
            parts += shape(run.state, middle, short(max(TOP / 2, top - 8)))
    return link.format(href(run.run), about(run, times), parts, percent(number, steps), percent(1, steps))


def _caption(runs: Sequence[RunRow], times: Times) -> Markup:
    ended = [run.state for run in runs if run.state not in LIVE]
    return Markup('<figcaption class="row between muted">{}<span>{} of {} succeeded</span>{}</figcaption>').format(
        times.time(runs[0].due_ms), ended.count("succeeded"), len(ended), times.time(runs[-1].due_ms)
    )
