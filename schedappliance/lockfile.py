"""Lock files: one process holds one for as long as it lives, and its pid is in it.

Rule: a lock is an flock(2) on an open descriptor, so the kernel releases it however the process ends. The file stays.
Only its owner can open it: whoever can open a file, even for reading, can lock it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from schedappliance.diagnostics import Unusable
from schedappliance.kinds import LARGEST_OF_KERNEL, closed, not_a_file, read_head

MODE = 0o600
UNKNOWN = "unknown"
LOCKS = Path("/proc/locks")
WHOLE = range(2**63)
# Each try follows the removal of the file by another process.
_TRIES = 10


class LockHeld(Exception):
    """Another process holds the lock. `holder`: its pid, or `unknown`."""

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder


class LockLost(Exception):
    """The file of a held lock was removed or replaced, so that another process can lock the new one."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"the lock file {path} was removed or replaced; another appliance could use the same files")


def lock_file(path: Path) -> int:
    """Creates a file if needed and locks it for this process. Returns the descriptor, which must stay open.

    Raises LockHeld, Unusable if something other than a lock file of this user has its name, and OSError with the path if the
    file cannot be created or locked.
    """
    if unusable := not_a_file(path):
        raise unusable
    opened: list[int] = []
    try:
        for _ in range(_TRIES):
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            opened.append(os.open(path, flags, MODE))
            if _holds_text(opened[-1]):
                raise Unusable(
                    f"{path} is not a lock file: it has other content", "move it away, or choose another path"
                )
            if _is_locked(opened[-1], path):
                return opened.pop()
        raise LockHeld(UNKNOWN)
    except PermissionError as error:
        raise closed(path, error) or error from None
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _is_locked(descriptor: int, path: Path) -> bool:
    """Locks an open file. Returns False if another file has its name by now.

    A file that others could open is replaced: they may have it open still, and could lock it at any time. That is also
    done if a process holds it that has not written its pid, as an appliance does.
    """
    try:
        lock_descriptor(descriptor, path)
    except LockHeld as held:
        if _is_private(descriptor, path) or held.holder in (_recorded(descriptor), UNKNOWN):
            raise
        path.unlink(missing_ok=True)
        return False
    _record(descriptor)
    if not _is_private(descriptor, path):
        path.unlink(missing_ok=True)
        return False
    return is_in_place(descriptor, path)


def lock_descriptor(descriptor: int, path: Path) -> None:
    """Locks an open file. Raises LockHeld and OSError."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        visible = holders("FLOCK", "WRITE", os.fstat(descriptor))
        recorded = _recorded(descriptor)
        pid = recorded if not visible or recorded in map(str, visible) else str(visible[0])
        raise LockHeld(pid or UNKNOWN) from None
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _holds_text(descriptor: int) -> bool:
    """Whether a file has other content than a pid. After a power cut, zeros may be in place of a pid."""
    # A disk that cannot be read is not the fault of this file.
    with contextlib.suppress(OSError):
        return _is_other_text(os.pread(descriptor, 32, 0))
    return False


def _is_other_text(head: bytes) -> bool:
    text = head.strip(b"\0").strip()
    return bool(text) and not text.isdigit()


def has_pid(path: Path) -> bool:
    """Whether a pid, or the zeros in its place, are in a lock file.

    Also True if the file cannot be read. Locking it then says why.
    """
    try:
        head = read_head(path, 32, os.O_NOFOLLOW)
        return bool(head) and not _is_other_text(head)
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _recorded(descriptor: int) -> str:
    """The pid in a lock file; empty if there is none, as in a file that is not a lock file."""
    text = os.pread(descriptor, 32, 0).strip()
    return text.decode() if text.isdigit() else ""


def _record(descriptor: int) -> None:
    """Writes the own pid. On a full disk it may be missing, but the lock holds."""
    text = f"{os.getpid()}\n".encode()
    with contextlib.suppress(OSError):
        os.pwrite(descriptor, text, 0)
        os.ftruncate(descriptor, len(text))


def _is_private(descriptor: int, path: Path) -> bool:
    """Whether only this user or the owner of the directory can open the file."""
    status = os.fstat(descriptor)
    return not status.st_mode & 0o077 and status.st_uid in (os.geteuid(), path.parent.stat().st_uid)


def is_in_place(descriptor: int, path: Path) -> bool:
    """Whether a path still leads to the open file. True if that cannot be seen."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
    except OSError:
        return True


def lock_holder(path: Path) -> int | None:
    """The pid of the process that holds a lock file, from /proc/locks; None if no visible process holds it.

    It does not try the lock: that would hold the lock for an instant, in which an appliance could not start.
    """
    try:
        status = path.lstat()
        text = read_head(path, 100, os.O_NOFOLLOW).decode(errors="replace").strip()
    except OSError:
        return None
    return next((pid for pid in holders("FLOCK", "WRITE", status) if str(pid) == text), None)


def holders(kind: str, mode: str, status: os.stat_result, place: range = WHOLE) -> list[int]:
    """The visible processes that hold locks of a kind (`FLOCK`, `POSIX`) and mode (`READ`, `WRITE`) on bytes of a file.

    /proc/locks names the device of the file system, which on some is not that of stat(2). Then only the inode counts.
    """
    try:
        locks = read_head(LOCKS, LARGEST_OF_KERNEL).decode(errors="replace")
    except OSError:
        return []
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    exact: list[int] = []
    likely: list[int] = []
    for line in locks.splitlines():
        if len(words := line.split()) < 8:
            # Something else is mounted there.
            continue
        _, a_kind, _, a_mode, owner, file, first, last, *_ = words
        if (a_kind, a_mode) != (kind, mode) or not file.endswith(f":{status.st_ino}"):
            continue
        if int(first) < place.stop and (last == "EOF" or int(last) >= place.start):
            (exact if file == device else likely).append(int(owner))
    return list(dict.fromkeys(pid for pid in exact or likely if pid > 0))
