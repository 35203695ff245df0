"""A trial to watch directories as an appliance would, and as the user that it runs as; what it takes is given back."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from schedappliance.doctor.facts import Person
from schedappliance.edge.files.directories import Directories

Failure = tuple[int, str]


def watch_failure(sets: Sequence[set[Path]], user: Person) -> Failure | None:
    """Why not all of these can be watched, one observer for each set; limits and permissions are a user's own."""
    if user.uid == os.geteuid() or os.geteuid() != 0:
        return _tried(sets)
    return _tried_as(user, sets)


def _tried(sets: Sequence[set[Path]]) -> Failure | None:
    silent = logging.Logger("trial", logging.CRITICAL)
    with ExitStack() as stack:
        for directories in sets:
            watching = Directories(lambda: None, silent)
            stack.callback(watching.close)
            watching.watch(directories)
            if failure := watching.failure:
                place = f": {failure.filename}" if failure.filename else ""
                return failure.errno or 0, f"{failure.strerror or failure}{place}"
    return None


def _tried_as(user: Person, sets: Sequence[set[Path]]) -> Failure | None:
    """In a process of its own, which gives up root."""
    # Now, since that user may not be able to read it.
    import watchdog.observers  # noqa: F401

    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups(list(user.gids))
            os.setresgid(user.gid, user.gid, user.gid)
            os.setresuid(user.uid, user.uid, user.uid)
            os.write(write, "{} {}".format(*(_tried(sets) or (0, ""))).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read, encoding="utf-8") as answer:
        number, _, text = answer.read().partition(" ")
    os.waitpid(child, 0)
    if not number:
        return errno.EPERM, "the trial as the appliance's user has failed"
    return (int(number), text) if text else None
