"""The one inbox: what threads and devices post, the deciding thread takes, in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from schedappliance.engine.events import DropClaimed, Event

Item = Event | Callable[[], object]


class Inbox:
    """Events, and calls to be made on the deciding thread. `fileno()` is readable while something that was posted waits."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._signal = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._rung = False

    def fileno(self) -> int:
        return self._signal

    def close(self) -> None:
        os.close(self._signal)

    def post(self, item: Item) -> None:
        """May be called from any thread and from a signal handler."""
        self._items.append(item)
        if not self._rung:
            self._ring()

    def put(self, item: Item) -> None:
        """For the deciding thread itself, which looks before it sleeps."""
        self._items.append(item)

    @property
    def has_items(self) -> bool:
        return bool(self._items)

    def _ring(self) -> None:
        self._rung = True
        os.eventfd_write(self._signal, 1)

    def take(self, limit: int) -> list[Event]:
        """The events that wait, those of one turn: `limit` console lines, or drops that weigh as much."""
        events: list[Event] = []
        weight = 0
        while self._items and weight < limit:
            item = self._items.popleft()
            if callable(item):
                item()
            else:
                events.append(item)
                weight += item.weight if isinstance(item, DropClaimed) else 1
        if not self._items:
            self._clear()
        return events

    def _clear(self) -> None:
        """Whoever posts from here on rings again; who posted before that and did not is found by the last look.

        Read also when nobody seems to have rung: whoever does may be late, and it would be readable for ever.
        """
        self._rung = False
        with suppress(BlockingIOError):
            os.eventfd_read(self._signal)
        if self._items:
            self._ring()
