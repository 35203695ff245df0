"""Workers: threads for tasks that may block, such as reading files, starting programs and looking up users.

Rule: the results of a worker come back through the inbox.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING

from schedappliance.edge.threads import start_thread

if TYPE_CHECKING:
    from schedappliance.edge.inbox import Inbox

CLOSE_SECONDS = 5.0


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
