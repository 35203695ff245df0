"""The ticks of an axis of time: at full hours and days of the zone in which the viewer sees instants."""

from __future__ import annotations

from dataclasses import dataclass

from schedappliance.clock import local_datetime
from schedappliance.model.calendars.days import MONTHS, SHORT_WEEKDAYS
from schedappliance.web.rendering.times import DAY_MS, Times

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
_STEPS = (
    *(minutes * MINUTE_MS for minutes in (5, 10, 15, 30)),
    *(hours * HOUR_MS for hours in (1, 2, 3, 6, 12)),
    *(days * DAY_MS for days in (1, 2, 7)),
)


@dataclass(frozen=True)
class Tick:
    """`is_day`: the label is a date. `is_minor`: the label is left out where there is little room."""

    at_ms: int
    label: str
    is_day: bool
    is_minor: bool


def ticks(since_ms: int, until_ms: int, times: Times, most: int = 12) -> list[Tick]:
    """At most so many ticks, at multiples of a step in local time. Every second one is minor, but none of the days."""
    step = next((one for one in _STEPS if (until_ms - since_ms) / one <= most), _STEPS[-1])
    instants, at = [], _next_multiple(since_ms - 1, step, times)
    while at <= until_ms:
        instants.append(at)
        at = _next_multiple(at, step, times)
    return [_tick(at, step, times) for at in instants]


def _next_multiple(after_ms: int, step: int, times: Times) -> int:
    """The first instant after another at which the local time is a multiple of the step."""
    offset = times.zone.offset_at(after_ms // 1000) * 1000
    at = ((after_ms + offset) // step + 1) * step - offset
    changed = times.zone.offset_at(at // 1000) * 1000 - offset
    # After a clock change the multiple lies elsewhere. The distance of a step that leads back would never end.
    return at - changed if changed and at - changed > after_ms else at


def _tick(at_ms: int, step: int, times: Times) -> Tick:
    local = local_datetime(at_ms, times.zone)
    is_day = local.hour == local.minute == 0
    number = (local.hour * HOUR_MS + local.minute * MINUTE_MS) // step
    if not is_day:
        return Tick(at_ms, f"{local:%H:%M}", is_day, number % 2 == 1)
    day = f"{SHORT_WEEKDAYS[local.weekday()]} {local.day}"
    return Tick(at_ms, f"{day} {MONTHS[local.month - 1][:3]}" if step >= DAY_MS else day, is_day, False)
