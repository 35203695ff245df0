"""What the choice and the reading of drops have in common: entries of files, their owners, and errors.

Rule: an owner is looked up once for each listing of new/, and an error is logged once for each subject.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from schedappliance.edge.users import known_after_tries
from schedappliance.engine.intake import SpoolEntry
from schedappliance.engine.records import KnownUser

# Errors of a disk. Every other error may have its cause in one file, which any user may drop.
_OF_THE_DISK = frozenset({errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO})


@dataclass(slots=True)
class Owners:
    """The owners of files. `gid`: the group of a shared spool; only such a spool asks for the groups of a user."""

    gid: int | None
    _users: dict[int, KnownUser] = field(default_factory=dict)

    def look_up(self, uid: int) -> KnownUser:
        if uid not in self._users:
            self._users[uid] = known_after_tries(uid, with_groups=self.gid is not None)
        return self._users[uid]

    def entry(self, name: str, status: os.stat_result) -> SpoolEntry:
        """The entry of a file. `status`: as lstat(2) returned it."""
        owner = self.look_up(status.st_uid)
        return SpoolEntry(
            name,
            status.st_mode,
            status.st_uid,
            status.st_nlink,
            status.st_size,
            status.st_ino,
            status.st_mtime_ns,
            status.st_gid,
            None if owner.problem else self.gid in owner.gids,
        )

    def forget(self) -> None:
        """Makes the next use of each owner ask the system again."""
        self._users.clear()


@dataclass(slots=True)
class ErrorLog:
    """Logs an error once for each subject: the name of a file, or of what failed."""

    log: logging.Logger
    _logged: set[str] = field(default_factory=set)

    def add(self, subject: str, message: str, *arguments: object) -> None:
        if subject not in self._logged:
            self._logged.add(subject)
            self.log.error(f"spool: {message}", *arguments)

    def forget(self, subject: str) -> None:
        """Makes `add` log the next error of this subject."""
        self._logged.discard(subject)

    def forget_others(self, subjects: Iterable[str]) -> None:
        """Forgets all subjects except these."""
        self._logged.intersection_update(subjects)


def is_of_the_spool(error: OSError, *folders: str) -> bool:
    """Whether an error concerns all files in these directories, and not only the one with which it happened.

    A directory that is missing is no such error: the audit makes it again.
    """
    if error.errno == errno.ENOENT:
        return False
    return error.errno in _OF_THE_DISK or not all(os.access(path, os.R_OK | os.W_OK | os.X_OK) for path in folders)


def open_drop(path: str) -> int:
    """Opens a file for reading without following links or blocking. Raises OSError."""
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
