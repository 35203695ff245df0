"""The last results of a job as a row of cells, the newest at the right.

Rule: the picture has the same size for any number of runs, so that a column of a table stays aligned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from markupsafe import Markup, escape

from schedappliance.client.states import FAILED
from schedappliance.diagnostics import joined
from schedappliance.web.appliance.columns import RunRow
from schedappliance.web.pictures.drawing import about
from schedappliance.web.rendering.formats import state
from schedappliance.web.rendering.times import Times

# The distance of two cells, and the size of one.
STEP, WIDTH, HEIGHT = 8, 6, 16


def cells(runs: Sequence[RunRow], href: Callable[[str], str], times: Times, *, most: int = 20) -> Markup:
    """The newest runs, given the newest first. Each cell is a link to its run."""
    shown = list(reversed(runs[:most]))
    left = most - len(shown)
    lines = "".join([f"M{at * STEP} {HEIGHT / 2:g}h{WIDTH}" for at in range(left)])
    # A list of jobs has a thousand cells. `Markup.format` would take most of the time of the whole screen.
    links = [
        f'<a href="{escape(href(run.run))}" tabindex="-1"><title>{escape(about(run, times))}</title>'
        f"{_cell(run.state, (left + number) * STEP)}</a>"
        for number, run in enumerate(shown)
    ]
    head = Markup(
        '<svg class="cells" width="{0}" height="{1}" viewBox="0 0 {0} {1}" role="group" aria-label="{2}">'
        '<path class="c-none" d="{3}"/>'
    ).format(most * STEP, HEIGHT, _words(shown), lines)
    return head + Markup("".join([*links, "</svg>"]))


def _words(runs: Sequence[RunRow]) -> str:
    if not runs:
        return "no runs yet"
    counts = Counter(run.state for run in runs)
    return f"last {len(runs)}, oldest first: " + joined([f"{count} {state(name)}" for name, count in counts.items()])


def _cell(name: str, x: int) -> str:
    """A cell whose height tells its kind too: failures are high with a cut, runs that never started are hollow."""
    shape = _SHAPES[name].format(x)
    return f'<path class="c-{name}" d="{shape}"/><rect class="hit" x="{x - 1}" width="{STEP}" height="{HEIGHT}"/>'


# Lines and outlines at a distance from the left. A failure is a full cell that a cross cuts.
_FULL = "M{} 0h6v16h-6z"
_CROSSED = "M{} 0h6v5l-2.2 3l2.2 3v5h-6v-5l2.2 -3l-2.2 -3z"
_LOW = "M{} 4h6v8h-6z"
_HOLLOW = "M{} 3h6v10h-6zm1.5 1.5v7h3v-7z"
_DIAMOND = "M{} 8l3 -5l3 5l-3 5z"
_POINTING = "M{} 2l6 6l-6 6z"
_SHAPES = {
    "succeeded": _LOW,
    **dict.fromkeys(FAILED, _CROSSED),
    **dict.fromkeys(("cancelled", "replaced"), _DIAMOND),
    **dict.fromkeys(("missed", "skipped", "queued"), _HOLLOW),
    "started": _POINTING,
}
