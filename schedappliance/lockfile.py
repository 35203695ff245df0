"""Lock files: one process holds one for as long as it lives, and its pid is in it.

Rule: a lock is an flock(2) on an open descriptor, so the kernel releases it however the process ends. The file stays.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class LockHeld(Exception):
    """Another process holds the lock. `holder`: its pid as it wrote it, or `unknown`."""

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder


def lock_file(path: Path, mode: int = 0o644) -> int:
    """Creates a file if needed and locks it for this process. Returns the descriptor, which must stay open.

    Raises LockHeld, and OSError with the path if the file cannot be opened or locked.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        _lock(descriptor, path)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _lock(descriptor: int, path: Path) -> None:
    """Does not check that `path` still names the locked inode: if somebody removes the file, two processes hold a lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LockHeld(os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown") from None
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def lock_holder(path: Path) -> int | None:
    """The pid of the process that holds a lock file, from /proc/locks; None if no visible process holds it.

    It does not try the lock: that would hold the lock for an instant, in which an appliance could not start.
    """
    try:
        inode, pid = path.stat().st_ino, path.read_text(encoding="ascii", errors="replace").strip()
        locks = Path("/proc/locks").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    for line in locks.splitlines():
        _, kind, _, mode, owner, place, *_ = line.split()
        if (kind, mode, owner) == ("FLOCK", "WRITE", pid) and place.endswith(f":{inode}"):
            return int(pid)
    return None
