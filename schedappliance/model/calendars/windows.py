"""The windows of the option `within`: on each weekday, the local times at which something may be due.

Rule: a window over midnight belongs to the day on which it begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from schedappliance.model.calendars.expression import Window
from schedappliance.model.calendars.months import DAY_S

# Seconds since midnight, from the first to before the second.
Range = tuple[int, int]


def ranges_by_weekday(windows: Iterable[Window]) -> tuple[tuple[Range, ...], ...]:
    """For each weekday from Monday: the open times of day, sorted and apart from each other."""
    ranges: list[list[Range]] = [[] for _ in range(7)]
    for window in windows:
        for weekday in window.weekdays:
            ranges[weekday].append((window.start, min(window.end, DAY_S)))
            if window.end > DAY_S:
                ranges[(weekday + 1) % 7].append((0, window.end - DAY_S))
    return tuple(_joined(sorted(day)) for day in ranges)


def _joined(ranges: Sequence[Range]) -> tuple[Range, ...]:
    joined: list[Range] = []
    for start, end in ranges:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return tuple(joined)
