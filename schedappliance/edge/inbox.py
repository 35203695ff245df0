"""The inbox: a queue from threads and devices to the deciding thread. Rule: items are taken in the order of their arrival."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from schedappliance.engine.events import DropClaimed, Event


class Offer(NamedTuple):
    """Events that a device keeps until a turn has room for them. `take` returns at most this many of them."""

    take: Callable[[int], list[Event]]


# With a call, a worker passes a result to its own device on the deciding thread: the name of a client's user, or a signal
# for a program that the worker has just started. The core decides nothing about a call, so a call is not an event. Both
# are in one queue, so that a call cannot overtake an earlier event.
Item = Event | Offer | Callable[[], object]


class Inbox:
    """Events for the core, and calls to be made on the deciding thread. `fileno()` is readable while items are posted."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._signal = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._is_signalled = False

    def fileno(self) -> int:
        return self._signal

    def close(self) -> None:
        os.close(self._signal)

    def post(self, item: Item) -> None:
        """Adds an item from any thread, or from a signal handler, and wakes the deciding thread."""
        self._items.append(item)
        if not self._is_signalled:
            self._wake()

    def put(self, item: Item) -> None:
        """Adds an item on the deciding thread. It needs no wake-up, since the thread checks the inbox before it sleeps."""
        self._items.append(item)

    @property
    def has_items(self) -> bool:
        return bool(self._items)

    def _wake(self) -> None:
        self._is_signalled = True
        os.eventfd_write(self._signal, 1)

    def take(self, limit: int) -> list[Event]:
        """The events of one turn: `limit` console lines, or drops of that weight. It also makes the calls in the queue."""
        events: list[Event] = []
        weight = 0
        while self._items and weight < limit:
            item = self._items.popleft()
            if callable(item):
                item()
            elif isinstance(item, Offer):
                events += (offered := item.take(limit - weight))
                weight += len(offered)
            else:
                events.append(item)
                weight += item.weight if isinstance(item, DropClaimed) else 1
        if not self._items:
            self._clear_signal()
        return events

    def _clear_signal(self) -> None:
        """Clears the signal. From here on, a thread that posts an item signals again.

        The last check finds the item of a thread that saw the old signal. The descriptor is read even without a signal,
        because a thread may signal after its item was taken. Otherwise the descriptor would stay readable forever.
        """
        self._is_signalled = False
        with suppress(BlockingIOError):
            os.eventfd_read(self._signal)
        if self._items:
            self._wake()
