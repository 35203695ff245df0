"""Tries to watch directories as the appliance would, as its user. Rule: everything that it opens is closed again."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from schedappliance.doctor.facts import Credentials
from schedappliance.edge.files.directories import Directories

Failure = tuple[int, str]


def watch_failure(sets: Sequence[set[Path]], user: Credentials) -> Failure | None:
    """The reason why a directory cannot be watched; None if all can be. Each set has an observer of its own.

    If root calls it, it tries as `user`, because limits and permissions differ between users.
    """
    if user.uid == os.geteuid() or os.geteuid() != 0:
        return _failure(sets)
    return _failure_as(user, sets)


def _failure(sets: Sequence[set[Path]]) -> Failure | None:
    silent = logging.Logger("trial", logging.CRITICAL)
    with ExitStack() as stack:
        for directories in sets:
            watch = Directories(lambda: None, silent)
            stack.callback(watch.close)
            watch.watch(directories)
            if failure := watch.failure:
                place = f": {failure.filename}" if failure.filename else ""
                return failure.errno or 0, f"{failure.strerror or failure}{place}"
    return None


def _failure_as(user: Credentials, sets: Sequence[set[Path]]) -> Failure | None:
    """Tries the same in a child process that gives up root."""
    # Imported before the fork, because that user may be unable to read the package.
    import watchdog.observers  # noqa: F401

    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups(list(user.gids))
            os.setresgid(user.gid, user.gid, user.gid)
            os.setresuid(user.uid, user.uid, user.uid)
            os.write(write, "{} {}".format(*(_failure(sets) or (0, ""))).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read, encoding="utf-8") as report:
        number, _, text = report.read().partition(" ")
    os.waitpid(child, 0)
    if not number:
        return errno.EPERM, "the trial as the appliance's user failed"
    return (int(number), text) if text else None
