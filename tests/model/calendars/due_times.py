"""Lists of due times, as the three questions give them."""

from __future__ import annotations

from schedappliance.model.schedules import Schedule


def forward(schedule: Schedule, start: int, end: int) -> list[int]:
    """The due times from `start` to before `end`, in seconds, one `next_after` after the other."""
    due, instant = [], start * 1000 - 1
    while (following := schedule.next_after(instant)) is not None and following < end * 1000:
        due.append(following // 1000)
        instant = following
    return due


def backward(schedule: Schedule, start: int, end: int) -> list[int]:
    """The same due times, one `latest` before the other."""
    due, instant = [], end * 1000 - 1
    while (latest := schedule.latest(instant)) is not None and latest >= start * 1000:
        due.append(latest // 1000)
        instant = latest - 1
    return due[::-1]
