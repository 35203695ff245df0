"""Tells what is at a path: a regular file, a FIFO, a link, or what this user may not use. Also EXHAUSTED, errors of a shortage.

Rule: only regular files are opened. Opening a FIFO can wait forever, and opening a device can do anything.
"""

from __future__ import annotations

import errno
import os
import pwd
import stat
from pathlib import Path

from schedappliance.diagnostics import Unusable

# These errors pass as soon as descriptors, memory or processes are free again. EAGAIN is also the error of a leased file.
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM)
# These errors mean that a file system has no space or no inode left, or that a user has no more of them.
FULL = (errno.ENOSPC, errno.EDQUOT)
FREE_ROOM = "free space on its disk, or inodes: `df -h` and `df -i` show which"

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
}


def in_words(error: OSError) -> str:
    """An error with its path, without its number."""
    return ": ".join(str(part) for part in (error.filename, error.strerror) if part)


def other_kind(mode: int) -> str | None:
    """What has this mode, for a message; None if it is a regular file."""
    return None if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "a device")


def not_a_file(path: Path) -> Unusable | None:
    """The exception for a path at which something other than a regular file is. None if it is missing or cannot be seen.

    Links are not followed: SQLite does not follow them for the files beside a store, and a lock does not.
    """
    try:
        return unusable_kind(path, path.lstat().st_mode)
    except OSError:
        return None


def unusable_kind(path: Path, mode: int) -> Unusable | None:
    """The exception for something that has a mode; None for a regular file."""
    if (kind := other_kind(mode)) is None:
        return None
    remedy = "move it away: the appliance makes its file again"
    if kind == "a symbolic link":
        remedy = "put the file to which it leads there, or remove the link"
    return Unusable(f"{path} is {kind}, not a file", remedy)


def unseen(path: Path) -> str | None:
    """Why this process cannot look at a path, for a message. None if it can, or if nothing is there."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return f"{path} cannot be looked at: {error.strerror}"
    return None


def not_a_directory(path: Path) -> Unusable | None:
    """The exception for a directory that is not there and cannot be made, since something else is at its path or above it."""
    for place in (path, *path.parents):
        if os.path.lexists(place):
            unusable = Unusable(f"{place} is not a directory", "move it away, or name another path")
            return None if place.is_dir() else unusable
    return None


def uncreatable(path: Path, error: OSError) -> Unusable:
    """The exception for a file or directory that cannot be created or used, with the remedy for its cause."""
    if unusable := closed(path, error) or not_a_directory(path.parent):
        return unusable
    remedies = dict.fromkeys(FULL, FREE_ROOM) | {
        errno.EROFS: "make its file system writable",
        errno.ENAMETOOLONG: "name a shorter path",
        errno.ENOENT: f"create its directory: mkdir -p {path.parent}",
    }
    remedy = remedies.get(error.errno or 0, "make its directory writable")
    return Unusable(f"cannot create {path}: {error.strerror}", remedy)


def closed(path: Path, error: OSError) -> Unusable | None:
    """The exception for a file or directory that is there, but that this user may not use.

    None if the error has another cause, such as the directory in which it would be created.
    """
    if error.errno not in (errno.EACCES, errno.EPERM):
        return None
    try:
        status = path.lstat()
    except OSError:
        return None
    owner, user = _user_name(status.st_uid), os.geteuid()
    mode = f"{stat.S_IMODE(status.st_mode):04o}"
    message = f"{path} cannot be used: {error.strerror}; it belongs to {owner} and has mode {mode}"
    if error.errno == errno.EPERM and user in (0, status.st_uid):
        return Unusable(message, "`lsattr` shows whether it is immutable; `chattr -i` changes that")
    return Unusable(message, f"change its owner or its permissions for {_user_name(user)}")


def _user_name(uid: int) -> str:
    try:
        return f"`{pwd.getpwuid(uid).pw_name}`"
    except KeyError:
        return f"`uid-{uid}`"


# No file in /proc that the appliance reads is larger.
LARGEST_OF_KERNEL = 1 << 23


def read_head(path: Path, size: int, flags: int = 0) -> bytes:
    """The first bytes of a regular file, also of one in /proc. Nothing else at this path can block it. Raises OSError."""
    if other_kind(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    # Something else may be there by now.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | flags), "rb") as file:
        # None: the file would block, as /proc/kmsg does.
        return file.read(size) or b""
