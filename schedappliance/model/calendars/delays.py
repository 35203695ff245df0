"""Delays of due times: `spread` delays all due times of a job by the same time, `jitter` each by its own time.

Rule: a delay is computed from names and instants, never drawn, so it is the same after a restart and in `preview`. No
delay leads to `END` or beyond it.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Protocol

from schedappliance.model.calendars.pieces import END
from schedappliance.model.calendars.questions import Questions


def delay_below(limit: int, *seed: str) -> int:
    """Seconds from 0 to before `limit`."""
    digest = blake2b("\0".join(seed).encode(), digest_size=8).digest()
    return int.from_bytes(digest) % limit


class Delays(Questions, Protocol):
    """Due times that are delayed."""

    def origin_of(self, due: int) -> int:
        """The instant that was delayed until a due time."""

    def delayed(self, instant: int) -> int:
        """The due time that this delay makes of an instant."""


class Spread:
    """Due times that are all delayed by the same number of seconds. Those whose delay would lead beyond the end are left out."""

    def __init__(self, due: Questions, delay: int) -> None:
        self._due, self.delay = due, delay

    def first_from(self, instant: int) -> int | None:
        due = self._due.first_from(instant - self.delay)
        return None if due is None or due + self.delay >= END else due + self.delay

    def last_to(self, instant: int) -> int | None:
        due = self._due.last_to(min(instant, END - 1) - self.delay)
        return None if due is None else due + self.delay

    def count(self, start: int, end: int) -> int:
        return self._due.count(start - self.delay, min(end, END) - self.delay)

    def origin_of(self, due: int) -> int:
        return due - self.delay

    def delayed(self, instant: int) -> int:
        return instant + self.delay


class Jitter:
    """Due times that are delayed each by its own number of seconds, from 0 to before `limit`.

    A delay ends before the next instant to be delayed, so the order is kept, and no two due times become one.
    """

    def __init__(self, due: Questions, limit: int, seed: str) -> None:
        self._due, self._limit, self._seed = due, limit, seed

    def first_from(self, instant: int) -> int | None:
        before = self._due.last_to(instant - 1)
        if before is not None and (due := before + self.delay_of(before)) >= instant:
            return due
        following = self._due.first_from(instant)
        return None if following is None else following + self.delay_of(following)

    def last_to(self, instant: int) -> int | None:
        latest = self._due.last_to(instant)
        if latest is not None and latest + self.delay_of(latest) > instant:
            latest = self._due.last_to(latest - 1)
        return None if latest is None else latest + self.delay_of(latest)

    def count(self, start: int, end: int) -> int:
        if end <= start:
            return 0
        return self._due.count(start, end) + self._reaches(start) - self._reaches(end)

    def origin_of(self, due: int) -> int:
        origin = self._due.last_to(due)
        assert origin is not None
        return origin

    def delayed(self, instant: int) -> int:
        return instant + self.delay_of(instant)

    def delay_of(self, due: int) -> int:
        """The delay of one due time, in seconds."""
        following = self._due.first_from(due + 1)
        limit = min(self._limit, (END if following is None else following) - due)
        return delay_below(limit, self._seed, str(due))

    def _reaches(self, instant: int) -> bool:
        """Whether a due time before an instant is delayed to it or beyond it."""
        before = self._due.last_to(instant - 1)
        return before is not None and before + self.delay_of(before) >= instant
