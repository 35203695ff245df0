"""Reads the clocks of the machine. All other code receives a Moment as an argument.

It also shows instants: `local_text` to people, `time_data` to programs.

Rule: no other module calls `time.*` or `datetime.now`, and none writes an instant in its own way; tests enforce this.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import NamedTuple, Protocol

_EPOCH = datetime.fromtimestamp(0, UTC)
_WITHOUT_ZONE = len("2026-11-22T18:01:00")


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


class HasOffset(Protocol):
    """A time zone."""

    def offset_at(self, instant: int, /) -> int:
        """Local time minus UTC, in seconds, at an instant in seconds."""


def local_datetime(wall: int, zone: HasOffset | None = None) -> datetime:
    """A wall time in a zone, by default that of the machine, with its offset, in whole seconds.

    Raises OverflowError or ValueError after the year 9999.
    """
    second = wall // 1000
    offset = time.localtime(second).tm_gmtoff if zone is None else zone.offset_at(second)
    return (_EPOCH + timedelta(seconds=second)).astimezone(timezone(timedelta(seconds=offset)))


def local_text(wall: int, zone: HasOffset | None = None) -> str:
    """A wall time as people read it, in a zone, by default that of the machine: `2027-03-28T03:00:00+02:00`.

    Without the offset, the hour that is repeated in autumn would have two instants with one name.
    """
    try:
        return local_datetime(wall, zone).isoformat()
    except (OverflowError, ValueError, OSError):
        return f"@{wall // 1000}"


def time_data(key: str, wall: int | None) -> dict[str, str | int | None]:
    """A wall time as programs read it: at the key in UTC (RFC 3339), and at `KEY_ms` in milliseconds."""
    return {key: None if wall is None else _utc_text(wall), f"{key}_ms": wall}


def _utc_text(wall: int) -> str:
    try:
        return (_EPOCH + timedelta(seconds=wall // 1000)).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError):
        return f"@{wall // 1000}"


# All lines of a turn have the same time.
@lru_cache(maxsize=2)
def log_time(wall: int, in_utc: bool = False) -> str:
    """A wall time with milliseconds, for a line of the log: as people read it, or in UTC for programs."""
    text = _second_of_log(wall // 1000, in_utc)
    return f"{text[:_WITHOUT_ZONE]}.{wall % 1000:03d}{text[_WITHOUT_ZONE:]}"


@lru_cache(maxsize=2)
def _second_of_log(second: int, in_utc: bool) -> str:
    return _utc_text(second * 1000) if in_utc else local_text(second * 1000)


def span_text(milliseconds: int) -> str:
    """A time span as people say it, in its two largest units: `11 h 3 min`."""
    seconds = milliseconds // 1000
    parts: list[tuple[int, str]] = []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if parts or count:
            parts.append((count, unit))
    return " ".join(f"{count} {unit}" for count, unit in parts[:2] if count) or "0 s"


def lasted_text(milliseconds: int | None) -> str:
    """A time span, with tenths of a second if it is shorter than ten seconds; empty for None."""
    if milliseconds is None:
        return ""
    return f"{milliseconds / 1000:.1f} s" if milliseconds < 10_000 else span_text(milliseconds)
