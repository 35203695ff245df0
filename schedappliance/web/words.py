"""Instants, durations, sizes and states as the page writes them.

Rule: text of others passes through `shown`, so nothing on the page is invisible or changes the direction of the text.
"""

from __future__ import annotations

import re
import signal as signals
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from schedappliance.client.states import KINDS, SHAPES
from schedappliance.clock import HasOffset, lasted_text, local_text, span_text
from schedappliance.diagnostics import counted
from schedappliance.visible import visible, visible_lines

# An instant that is nearer than this is now.
NOW_MS = 1000
MINUTE_MS, DAY_MS = 60_000, 86_400_000
# From here on, nobody counts the seconds.
PRECISE_MS = 5 * MINUTE_MS
# Where the parts of `2027-03-28T03:00:00+02:00` end.
_DAY, _MINUTE, _SECOND = 10, 16, 19
# `1796002200 (2026-11-30T02:30:00+01:00)`.
_INSTANT = re.compile(r"\b([0-9]{9,11}) \([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(?:Z|[+-][0-9]{2}:[0-9]{2})\)")
_TIME = Markup('<time datetime="{}" title="{}">{}</time>')


@dataclass(frozen=True)
class _Utc:
    def offset_at(self, instant: int, /) -> int:  # noqa: ARG002
        return 0


@dataclass(frozen=True)
class Times:
    """How instants are written for one viewer: relative to now, and in a zone."""

    now_ms: int
    zone: HasOffset
    zone_name: str

    def relative(self, instant_ms: int) -> str:
        """`5 min ago`, `in 2 h 3 min`, `now`."""
        distance = instant_ms - self.now_ms
        if abs(distance) < NOW_MS:
            return "now"
        span = abs(distance)
        text = span_text(span - span % MINUTE_MS if span >= PRECISE_MS else span)
        return f"in {text}" if distance > 0 else f"{text} ago"

    def absolute(self, instant_ms: int) -> str:
        """`2027-03-28 03:00:00 +02:00`."""
        text = local_text(instant_ms, self.zone)
        return f"{text[:_DAY]} {text[_DAY + 1 : _SECOND]} {text[_SECOND:]}" if len(text) > _SECOND else text

    def clock(self, instant_ms: int) -> str:
        """`03:00`."""
        return local_text(instant_ms, self.zone)[_DAY + 1 : _MINUTE]

    def day(self, instant_ms: int) -> str:
        """`2027-03-28`."""
        return local_text(instant_ms, self.zone)[:_DAY]

    def time(self, instant_ms: int | None) -> Markup:
        """An instant relative to now; the title is the instant itself."""
        return self._element(instant_ms, relative=True)

    def instant(self, instant_ms: int | None) -> Markup:
        """An instant, without its distance from now."""
        return self._element(instant_ms, relative=False)

    def sentence(self, text: str) -> Markup:
        """A sentence of the appliance, whose instants are Unix times and dates of another zone, in the zone of the viewer."""
        parts, at = [Markup("")], 0
        for match in _INSTANT.finditer(text):
            parts += [escape(visible(text[at : match.start()])), self.instant(int(match[1]) * 1000)]
            at = match.end()
        return Markup("").join([*parts, escape(visible(text[at:]))])

    def _element(self, instant_ms: int | None, relative: bool) -> Markup:
        if instant_ms is None:
            return Markup('<span class="muted">–</span>')
        absolute = self.absolute(instant_ms)
        text, other = self.relative(instant_ms), f"{absolute} {self.zone_name}"
        if not relative:
            text, other = absolute, f"{text}, {self.zone_name}"
        return _TIME.format(local_text(instant_ms, _Utc()), other, text)


def took(milliseconds: int | None) -> str:
    """A duration: `4.2 s`, `1 h 3 min`; empty for None."""
    return lasted_text(None if milliseconds is None else max(0, milliseconds))


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


_JOB_KINDS = {"failing": "bad", "held": "warn", "degraded": "bad", "unanswered": "bad"}
_JOB_SHAPES = {"failing": "cross", "paused": "pause", "held": "pause", "degraded": "cross", "waiting": "clock"}


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
