"""What the pictures share: numbers, shapes, and the words that a run shows when the pointer is over it.

Rule: geometry is in attributes, colours are in the stylesheet.
"""

from __future__ import annotations

from markupsafe import Markup

from schedappliance.client.states import KINDS, SHAPES
from schedappliance.web.appliance.columns import RunRow
from schedappliance.web.rendering.formats import state, took
from schedappliance.web.rendering.times import Times


def short(value: float) -> str:
    """A number with at most two decimals, as an attribute."""
    text = f"{value:.2f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(value: float, whole: float) -> str:
    return f"{short(100 * value / whole)}%"


def shape(name: str, x: str, y: str) -> Markup:
    """The shape of a state, in its colour, with its middle at a point. `sprite` of components.html defines the shapes."""
    return Markup(f'<use href="#m-{SHAPES[name]}" class="k-{KINDS[name]}" x="{x}" y="{y}"/>')


def about(run: RunRow, times: Times) -> str:
    """A run in a line: `failed · 2026-11-29 21:55:13 +01:00 · took 4.2 s`."""
    begin = run.due_ms if run.started_ms is None else run.started_ms
    parts = [state(run.state), times.absolute(begin)]
    if run.began_ms is not None:
        parts.append(f"running for {took(times.boot_ms - run.began_ms)}")
    elif run.took_ms is not None:
        parts.append(f"took {took(run.took_ms)}")
    return " · ".join(parts)
