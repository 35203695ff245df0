"""The threads of the daemon, and the queues between them: tasks go to a worker, items come back through the inbox.

Rule: each queue keeps the order of arrival. A thread that cannot be started is a resource that is missing, not a bug.
"""

from __future__ import annotations

import os
import resource
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import NamedTuple

from schedappliance.diagnostics import Unusable
from schedappliance.engine.events import ConsoleEvent, DropClaimed, Event, LineTyped

# Python words this error differently in each place, or not at all.
NO_THREAD = "the machine has no thread left"
# How long to wait for the last tasks of a worker.
CLOSE_SECONDS = 5.0


# A longer line counts as several in the limit of a turn: reading 64 KiB of short words takes as long as 1,000 usual lines.
LINE_CHARACTERS = 64
# So does a costly command of a drop, which takes up to a few milliseconds.
LINES_OF_COSTLY = 32


def weight_of(event: Event) -> int:
    """How many usual lines an event counts as in the limit of a turn."""
    if isinstance(event, LineTyped):
        return 1 + len(event.line) // LINE_CHARACTERS
    if isinstance(event, DropClaimed):
        return 1 + max(len(event.lines), len(event.source.text) // LINE_CHARACTERS) + event.costly * LINES_OF_COSTLY
    return 1


class Offer(NamedTuple):
    """Lines that a device keeps until a turn has room for them. `take` returns about as many as this limit, by their weight."""

    take: Callable[[int], list[ConsoleEvent]]


# A call goes from a worker to its own device, on the deciding thread. Example: the name of a client's user, which the console
# needs. The core does not see calls. They share the queue of the events, so that no call overtakes an earlier event.
Item = Event | Offer | Callable[[], object]


class Inbox:
    """Events for the core, and calls to be made on the deciding thread.

    `fileno()` is readable while items are posted.
    """

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
        """Adds an item on the deciding thread.

        It needs no wake-up, since the thread checks the inbox before it sleeps.
        """
        self._items.append(item)

    @property
    def has_items(self) -> bool:
        return bool(self._items)

    def _wake(self) -> None:
        self._is_signalled = True
        os.eventfd_write(self._signal, 1)

    def take(self, limit: int) -> list[Event]:
        """The events of one turn, about `limit` of them: a drop weighs as much as its lines, a long line as several.

        Also makes the calls in the queue.
        """
        events: list[Event] = []
        weight = 0
        while self._items and weight < limit:
            item = self._items.popleft()
            if callable(item):
                item()
            elif isinstance(item, Offer):
                events += (offered := item.take(limit - weight))
                weight += sum(map(weight_of, offered))
            else:
                events.append(item)
                weight += weight_of(item)
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


class Worker:
    """Runs its tasks in order, one at a time. A task handles the errors that it expects; any other ends the daemon."""

    def __init__(self, name: str, inbox: Inbox) -> None:
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._inbox = inbox
        self._thread = start_thread(name, self._run_tasks)

    def submit(self, task: Callable[[], None]) -> None:
        """Adds a task. May be called from any thread."""
        self._tasks.put(task)

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Waits for the submitted tasks, but at most this long, since one of them may hang."""
        self._tasks.put(None)
        self._thread.join(seconds)

    def _run_tasks(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                task()
            except Exception as error:
                self._inbox.post(_raiser(error))


def _raiser(error: Exception) -> Callable[[], None]:
    def raise_error() -> None:
        raise error

    return raise_error


def start_thread(name: str, run: Callable[[], None]) -> threading.Thread:
    """A thread that does not keep the process alive. Raises Unusable."""
    thread = threading.Thread(target=run, name=name, daemon=True)
    try:
        thread.start()
    except (RuntimeError, MemoryError) as error:
        remedy = "raise the limit on processes and threads, such as `TasksMax=` of systemd or `ulimit -u`"
        if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
            remedy += ", or the limit on address space: `LimitAS=` or `ulimit -v`"
        raise Unusable(f"cannot start the thread `{name}`: {NO_THREAD}", remedy) from error
    return thread
