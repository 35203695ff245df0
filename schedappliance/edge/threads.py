"""Starts the threads of the daemon. Rule: a thread that cannot be started is a resource that is missing, not a bug."""

from __future__ import annotations

import resource
import threading
from collections.abc import Callable

from schedappliance.diagnostics import Unusable

# Python says this in words of its own, or not at all.
NO_THREAD = "the machine has no thread left"


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
