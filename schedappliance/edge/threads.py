"""Starts the threads of the daemon. Rule: a thread that cannot be started is a resource that is missing, not a bug."""

from __future__ import annotations

import threading
from collections.abc import Callable

from schedappliance.diagnostics import Unusable


def start_thread(name: str, run: Callable[[], None]) -> threading.Thread:
    """A thread that does not keep the process alive. Raises Unusable."""
    thread = threading.Thread(target=run, name=name, daemon=True)
    try:
        thread.start()
    except (RuntimeError, MemoryError) as error:
        remedy = "raise the limit on processes and threads, such as `TasksMax=` of systemd or `ulimit -u`"
        raise Unusable(f"cannot start the thread `{name}`: {error}", remedy) from error
    return thread
