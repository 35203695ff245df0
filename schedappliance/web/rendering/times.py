"""Instants as the page writes them: relative to now, and in the zone of the viewer."""

from __future__ import annotations

import re
from dataclasses import dataclass

from markupsafe import Markup, escape

from schedappliance.clock import HasOffset, local_text, span_text
from schedappliance.visible import visible

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
    """How instants are written for one viewer: relative to now, and in a zone. `boot_ms`: now in boot time, for durations."""

    now_ms: int
    boot_ms: int
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
