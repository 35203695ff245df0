"""Tries to watch directories as the appliance would, as its user. Rule: everything that it opens is closed again."""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from schedappliance.doctor.facts import Credentials, WatchFailure
from schedappliance.edge.files.directories import Directories


def watch_failure(sets: Sequence[set[Path]], user: Credentials) -> WatchFailure | None:
    """The reason why a directory cannot be watched; None if all can be. Each set has an observer of its own.

    The first set is of the files, the second of the spool. If root calls it, it tries as `user`, because limits and
    permissions differ between users. What another user may not watch says nothing about `user`.
    """
    if os.geteuid() == user.uid:
        return _failure(sets)
    if os.geteuid() == 0:
        return _failure_as(user, sets)
    failure = _failure(sets)
    return None if failure and failure.number == errno.EACCES else failure


def _failure(sets: Sequence[set[Path]]) -> WatchFailure | None:
    silent = logging.Logger("trial", logging.CRITICAL)
    with ExitStack() as stack:
        for number, directories in enumerate(sets):
            watch = Directories(lambda: None, silent)
            stack.callback(watch.close)
            watch.watch(directories)
            if failure := watch.failure:
                place = f": {failure.filename}" if failure.filename else ""
                return WatchFailure(failure.errno or 0, f"{failure.strerror or failure}{place}", is_spool=number > 0)
    return None


def _failure_as(user: Credentials, sets: Sequence[set[Path]]) -> WatchFailure | None:
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
            os.write(write, json.dumps(_failure(sets)).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read, encoding="utf-8") as report:
        answer = report.read()
    os.waitpid(child, 0)
    if not answer:
        return WatchFailure(errno.EPERM, "the trial as the appliance's user failed")
    failure = json.loads(answer)
    return WatchFailure(*failure) if failure else None
