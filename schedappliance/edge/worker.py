"""A thread for what can block: reading files, spawning, user look-ups. Its results come back through the inbox."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

from schedappliance.edge.inbox import Inbox


class Worker:
    """Does one task after the other, in order. A task that raises ends the appliance: its own errors it must handle."""

    def __init__(self, name: str, inbox: Inbox) -> None:
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._inbox = inbox
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, task: Callable[[], None]) -> None:
        self._tasks.put(task)

    def close(self, seconds: float = 5.0) -> None:
        """Lets the tasks that wait finish, for so many seconds at most."""
        self._tasks.put(None)
        self._thread.join(seconds)

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                task()
            except Exception as error:
                self._inbox.post(_raiser(error))


def _raiser(error: Exception) -> Callable[[], None]:
    def call() -> None:
        raise error

    return call
