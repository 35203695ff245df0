"""The looks at the outputs of running programs: each frees the middle of long ones, since they could fill the disk.

Rule: the faster programs write, the sooner the next look comes. While no program runs, only outputs of ended runs that a
process still has open are looked at, and seldom: that may last for months.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from schedappliance.engine.events import OutputFlooded

if TYPE_CHECKING:
    from schedappliance.edge.loop import Alarm, Loop
    from schedappliance.edge.programs.output_lines import OutputLines
    from schedappliance.edge.threads import Worker
    from schedappliance.engine.records import AttemptKey

# The usual interval, and the shortest one.
LOOK_MS, SOON_MS = 1000, 100
# The interval for the outputs of ended runs, unless one had to be emptied. Each of them is opened.
HELD_MS = 10_000
# How much all running programs may write between two looks, if the disk has twice as much room.
ROOM_BYTES = 64 * 1024 * 1024


class Writer(Protocol):
    """A running program, as far as its output is concerned."""

    # How many bytes of the output the store keeps.
    output_limit: int
    # Of the output; None if the program has redirected it.
    inode: int | None
    # What the log has of the output; None if nothing is passed on.
    lines: OutputLines | None


class Files(Protocol):
    """The outputs, as far as their size is concerned."""

    def punch(self, key: AttemptKey, limit: int) -> int:
        """Frees the middle of a long output. Returns how many bytes that gave."""

    def free_bytes(self) -> int:
        """How much the disk can take."""


# The programs that run now. May be called from any thread.
Writers = Callable[[], Iterable[tuple["AttemptKey", Writer]]]


@dataclass(slots=True)
class Looks:
    """`bound_held`: bounds the outputs of ended runs, and returns how many bytes that gave; None if there are no such outputs.

    `running`: set by the supervisor.
    """

    loop: Loop
    outputs: Files
    worker: Worker
    bound_held: Callable[[], int | None]
    running: Writers = tuple
    # The programs that the log has named.
    _flooding: set[AttemptKey] = field(default_factory=set)
    # The alarm of the next look, and its number; None: no look is planned.
    _alarm: Alarm | None = None
    _number: int = 0
    # The boot time of the last look, or of the start of the program after which they began again.
    _last: int = 0
    # When the outputs of ended runs are due; None if there are none.
    _held_due: int | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        """Looks from now on, until no program runs. May be called from any thread, after the program was added."""
        now = self.loop.clock.moment().boot
        with self._lock:
            if self._alarm is None or self._alarm[0] > now + LOOK_MS:
                self._last = now
                self._plan(now + LOOK_MS)

    def begin_held(self) -> None:
        """Looks at the outputs of ended runs too, from now on. Called before the first look, or by a task of the worker."""
        self._held_due = self.loop.clock.moment().boot
        self.begin()

    def _plan(self, at: int) -> None:
        """Plans the next look instead of a later one. The caller has the lock."""
        if self._alarm is not None:
            self.loop.alarms.cancel(self._alarm)
        self._number += 1
        self._alarm = self.loop.alarms.at(at, partial(self.worker.submit, partial(self._look, self._number)))

    def _look(self, number: int) -> None:
        """A task of the worker."""
        if number != self._number:
            # Another look was planned instead when the alarm of this one had already rung.
            return
        now = self.loop.clock.moment().boot
        passed, self._last = now - self._last, now
        running = list(self.running())
        freed = {key: self.outputs.punch(key, program.output_limit) for key, program in running}
        room = min(ROOM_BYTES, self.outputs.free_bytes() // 2) if any(freed.values()) else ROOM_BYTES
        self._flooding.intersection_update(freed)
        for key, size in freed.items():
            if size > room and key not in self._flooding:
                self._flooding.add(key)
                self.loop.inbox.post(OutputFlooded(key, size, passed))
        if self._held_due is not None and self._held_due <= now:
            self._look_at_held(now)
        self._plan_next(now, pause_after(sum(freed.values()), passed, room))

    def _look_at_held(self, now: int) -> None:
        emptied = self.bound_held()
        self._held_due = None if emptied is None else now + (LOOK_MS if emptied else HELD_MS)

    def _plan_next(self, now: int, pause: int) -> None:
        with self._lock:
            # Before the question whether a program runs, so that one that is added from here on begins the looks again.
            self._alarm = None
            if list(self.running()):
                self._plan(now + pause)
            elif self._held_due is not None:
                self._plan(self._held_due)


def pause_after(written: int, milliseconds: int, room: int) -> int:
    """When to look again, so that programs that go on like this write no more than `room` meanwhile."""
    return max(SOON_MS, min(LOOK_MS, milliseconds * room // written)) if written else LOOK_MS
