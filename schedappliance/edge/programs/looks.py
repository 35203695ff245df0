"""The looks at the outputs of running programs: each frees the middle of long ones, so that none fills the disk.

Rule: the faster programs write, the sooner the next look comes. Nothing wakes while no program runs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from schedappliance.engine.events import OutputFlooded

if TYPE_CHECKING:
    from schedappliance.edge.loop import Loop
    from schedappliance.edge.programs.output_lines import OutputLines
    from schedappliance.edge.threads import Worker
    from schedappliance.engine.records import AttemptKey

# The usual interval, and the shortest one.
LOOK_MS, SOON_MS = 1000, 100
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
    """`bound_held`: bounds the outputs of ended runs, and returns whether there are any. `running`: set by the supervisor."""

    loop: Loop
    outputs: Files
    worker: Worker
    bound_held: Callable[[], bool]
    running: Writers = tuple
    # The programs that the log has named.
    _flooding: set[AttemptKey] = field(default_factory=set)
    _is_planned: bool = False
    # The boot time of the last look, or of the start of the program after which they began again.
    _last: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        """Looks from now on, until no program runs. May be called from any thread, after the program was added."""
        if not self._is_planned:
            self._last = self.loop.clock.moment().boot
            self._plan(LOOK_MS)

    def _plan(self, pause: int) -> None:
        with self._lock:
            if self._is_planned:
                return
            self._is_planned = True
        self.loop.alarms.at(self.loop.clock.moment().boot + pause, partial(self.worker.submit, self._look))

    def _look(self) -> None:
        """A task of the worker."""
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
        has_held = self.bound_held()
        # Before the question whether a program runs, so that one that is added from here on begins the looks again.
        self._is_planned = False
        if has_held or list(self.running()):
            self._plan(pause_after(sum(freed.values()), passed, room))


def pause_after(written: int, milliseconds: int, room: int) -> int:
    """When to look again, so that programs that go on like this write no more than `room` meanwhile."""
    return max(SOON_MS, min(LOOK_MS, milliseconds * room // written)) if written else LOOK_MS
