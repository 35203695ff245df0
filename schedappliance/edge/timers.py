"""Waking up on time: timerfd, which sees clock steps and suspend and is the most precise timer there is."""

from __future__ import annotations

import errno
import heapq
import os
from collections.abc import Callable
from itertools import count

from schedappliance.edge import linux


class Timer:
    """A descriptor that is readable from an absolute instant on."""

    def __init__(self, clock: int, flags: int) -> None:
        self._flags = linux.TFD_TIMER_ABSTIME | flags
        self._descriptor = linux.timerfd_create(clock)
        self._armed: int | None = None

    def fileno(self) -> int:
        return self._descriptor

    def arm(self, instant_ms: int | None) -> None:
        """Sets the instant; one that has passed is readable at once, None never."""
        if instant_ms == self._armed:
            return
        self._armed = instant_ms
        seconds, milliseconds = divmod(max(instant_ms, 1), 1000) if instant_ms is not None else (0, 0)
        try:
            linux.timerfd_settime(self._descriptor, self._flags, seconds, milliseconds * 1_000_000)
        except OSError as error:
            if error.errno != errno.ECANCELED:
                raise
            # The clock was set since the last look, which the descriptor does not tell any more: it rings at once.
            self._armed = None
            linux.timerfd_settime(self._descriptor, self._flags, 0, 1)

    def acknowledge(self) -> None:
        """Takes notice of the expiry, or of a clock that was set; the timer must be armed again."""
        self._armed = None
        try:
            os.read(self._descriptor, 8)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ECANCELED):
                raise


def wall_timer() -> Timer:
    """Wall time; also wakes when the clock is set."""
    return Timer(linux.CLOCK_REALTIME, linux.TFD_TIMER_CANCEL_ON_SET)


def boot_timer() -> Timer:
    """Time since boot, suspend included."""
    return Timer(linux.CLOCK_BOOTTIME, 0)


class Alarms:
    """Calls to be made at boot instants: quiet windows, audit polls, idle clients."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()

    def at(self, boot_ms: int, call: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (boot_ms, next(self._order), call))

    def next(self) -> int | None:
        return self._heap[0][0] if self._heap else None

    def ring(self, boot_ms: int) -> None:
        """Makes the calls that are due."""
        while self._heap and self._heap[0][0] <= boot_ms:
            heapq.heappop(self._heap)[2]()
