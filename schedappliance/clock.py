"""Reads the clocks of the machine. All other code receives a Moment as an argument.

Rule: no other module calls `time.*` or `datetime.now`; a test enforces this.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple, Protocol


class Moment(NamedTuple):
    """One reading of the clock, in integer milliseconds.

    `wall` is Unix time. It may jump. Due times are wall times. `boot` counts from an arbitrary point, also during
    suspend, and never jumps. Durations and timeouts are measured in boot time.
    """

    wall: int
    boot: int


class Clock(Protocol):
    def moment(self) -> Moment: ...


class SystemClock:
    """The machine's clock."""

    def moment(self) -> Moment:
        return Moment(time.time_ns() // 1_000_000, time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000)


class ManualClock:
    """A clock that stands still until it is moved: for tests, simulations and previews."""

    def __init__(self, wall: int, boot: int = 0) -> None:
        self._moment = Moment(wall, boot)

    def moment(self) -> Moment:
        return self._moment

    def advance(self, milliseconds: int) -> Moment:
        """Let time pass."""
        assert milliseconds >= 0, "time does not run backwards; use step() for a clock that is set"
        self._moment = Moment(self._moment.wall + milliseconds, self._moment.boot + milliseconds)
        return self._moment

    def step(self, milliseconds: int) -> Moment:
        """Set the wall clock forward or back, as an operator or NTP does; no time passes."""
        self._moment = Moment(self._moment.wall + milliseconds, self._moment.boot)
        return self._moment


def stopwatch() -> float:
    """Seconds since some instant, precise enough for the duration of a turn."""
    return time.perf_counter()


def local_time(wall: int) -> str:
    """A wall time in milliseconds as people read it in the log: ISO 8601 in the zone of the machine, with its offset.

    Without the offset, the hour that is repeated in autumn would have two instants with one name.
    """
    second, offset = _local_second(wall // 1000)
    return f"{second}.{wall % 1000:03d}{offset}"


@lru_cache(maxsize=2)
def _local_second(second: int) -> tuple[str, str]:
    local = time.localtime(second)
    zone = time.strftime("%z", local)
    return time.strftime("%Y-%m-%dT%H:%M:%S", local), f"{zone[:3]}:{zone[3:]}"


def utc_time(wall: int) -> str:
    """A wall time in milliseconds as programs read it in the log: ISO 8601 in UTC."""
    return f"{_utc_second(wall // 1000)}.{wall % 1000:03d}Z"


@lru_cache(maxsize=2)
def _utc_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def iso(wall: int) -> str:
    """A wall time in milliseconds as people read it: ISO 8601 in UTC, whole seconds."""
    try:
        return datetime.fromtimestamp(wall // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"@{wall // 1000}"


def span_text(milliseconds: int) -> str:
    """A time span as people say it, in its two largest units: `11 h 3 min`."""
    seconds = milliseconds // 1000
    parts: list[tuple[int, str]] = []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if parts or count:
            parts.append((count, unit))
    return " ".join(f"{count} {unit}" for count, unit in parts[:2] if count) or "0 s"
