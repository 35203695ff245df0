"""Schedules: the due times of a job, and three questions about them.

Rule: instants are integer milliseconds since the Unix epoch, and an answer takes a time that does not depend on the
number of due times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Schedule(Protocol):
    """A set of due times."""

    def next_after(self, instant_ms: int) -> int | None:
        """The first due time after an instant; None if there is none."""

    def latest(self, instant_ms: int) -> int | None:
        """The last due time at or before an instant; None if there is none."""

    def count(self, since_ms: int, until_ms: int) -> int:
        """How many due times there are from one instant to another, both included."""


@dataclass(frozen=True, slots=True)
class Once:
    """One due time. `written`: the local time that a stanza gives, whose instant depends on a zone; empty for an instant."""

    due_ms: int
    written: str = ""

    def next_after(self, instant_ms: int) -> int | None:
        return self.due_ms if self.due_ms > instant_ms else None

    def latest(self, instant_ms: int) -> int | None:
        return self.due_ms if self.due_ms <= instant_ms else None

    def count(self, since_ms: int, until_ms: int) -> int:
        return int(since_ms <= self.due_ms <= until_ms)


@dataclass(frozen=True, slots=True)
class AtBoot:
    """Once in each boot of the machine, `delay_ms` after it. engine/declared.py makes one due time of it in each boot."""

    delay_ms: int = 0


@dataclass(frozen=True, slots=True)
class Every:
    """The multiples of an interval since 1970, moved by an offset. Any due time is a valid offset."""

    interval_ms: int
    offset_ms: int = 0

    def next_after(self, instant_ms: int) -> int:
        return instant_ms + self.interval_ms - (instant_ms - self.offset_ms) % self.interval_ms

    def latest(self, instant_ms: int) -> int:
        return instant_ms - (instant_ms - self.offset_ms) % self.interval_ms

    def count(self, since_ms: int, until_ms: int) -> int:
        if until_ms < since_ms:
            return 0
        return (self.latest(until_ms) - self.latest(since_ms - 1)) // self.interval_ms
