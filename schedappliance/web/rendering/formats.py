"""Durations, sizes, states and the text of others, as the page writes them.

Rule: text of others passes through `shown`, so nothing on the page is invisible or changes the direction of the text.
"""

from __future__ import annotations

import signal as signals
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from schedappliance.client.states import KINDS, SHAPES
from schedappliance.clock import lasted_text
from schedappliance.diagnostics import counted
from schedappliance.visible import visible, visible_lines

# Tenths of a second say nothing about a shorter duration.
FINE_MS = 100


def took(milliseconds: int | None) -> str:
    """A duration: `42 ms`, `4.2 s`, `1 h 3 min`; empty for None."""
    if milliseconds is None:
        return ""
    milliseconds = max(0, milliseconds)
    return f"{milliseconds} ms" if milliseconds < FINE_MS else lasted_text(milliseconds)


def size(count: int | None) -> str:
    """A number of bytes: `512 B`, `64.0 KiB`, `13.1 MiB`; empty for None."""
    if count is None:
        return ""
    amount, units = float(count), iter(("B", "KiB", "MiB", "GiB", "TiB"))
    unit = next(units)
    while amount >= 1024 and (larger := next(units, None)):
        amount, unit = amount / 1024, larger
    # As the appliance does it: what is shown is not more than there is.
    return f"{count} B" if unit == "B" else f"{int(amount * 10) / 10:.1f} {unit}"


def number(value: int) -> str:
    """`110,000`."""
    return f"{value:,}"


def state(name: str) -> str:
    """The name of a state in words: `timed out`."""
    return name.replace("_", " ")


def kind_of(name: str) -> str:
    """The kind of a state, which decides its colour; `plain` for one without a colour."""
    return KINDS.get(name, _JOB_KINDS.get(name, "plain"))


def shape_of(name: str) -> str:
    """The shape of a state."""
    return SHAPES.get(name, _JOB_SHAPES.get(name, "dot"))


_JOB_KINDS = {"failing": "bad", "held": "warn", "degraded": "bad", "unanswered": "bad", "not delivered": "bad"}
_JOB_SHAPES = {
    "failing": "cross",
    "paused": "pause",
    "held": "pause",
    "degraded": "cross",
    "waiting": "clock",
    "not delivered": "cross",
}


def sign(name: str) -> Markup:
    """The shape of a state before a word."""
    return Markup(
        '<svg class="sign" viewBox="-8 -8 16 16" aria-hidden="true"><use href="#m-{}" class="k-{}"/></svg>'
    ).format(shape_of(name), kind_of(name))


def exit_words(status: int | None, signal: int | None) -> str:
    """How a program ended: `exit status 3`, `signal 9 (KILL)`; empty if it is not known."""
    if signal is not None:
        name = next((one.name.removeprefix("SIG") for one in signals.Signals if one == signal), None)
        return f"signal {signal} ({name})" if name else f"signal {signal}"
    return "" if status is None else f"exit status {status}"


def shown(text: Any) -> str:
    """Text of others on one line, with escapes for invisible characters and those that change the direction."""
    return visible(str(text))


def shown_lines(text: Any) -> str:
    """The same for text of many lines."""
    return visible_lines(str(text))


GLOBALS: Mapping[str, Any] = {
    "took": took,
    "size": size,
    "count": counted,
    "number": number,
    "state_words": state,
    "kind_of": kind_of,
    "shape_of": shape_of,
    "sign": sign,
    "exit_words": exit_words,
    "shown": shown,
    "shown_lines": shown_lines,
}
